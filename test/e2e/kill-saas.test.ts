import t from 'tap'
import { killAgainAndAgain } from '../support/kill.ts'

t.test('kill -9 under load, fifty times: money adds up, and no answer is without its row', (t) =>
  killAgainAndAgain(t, 'saas', 50),
)
