import t from 'tap'
import { killAgainAndAgain } from '../support/kill.ts'

// A machine that does other things as well takes its time over so many starts.
t.setTimeout(300_000)

t.test('kill -9 under load, fifty times: money adds up, and no answer is without its row', (t) =>
  killAgainAndAgain(t, 'saas', 50),
)
