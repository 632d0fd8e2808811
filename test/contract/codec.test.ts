import t from 'tap'
import { CODEC_SAMPLES } from '../protocols/codec-samples.ts'
import { codecContract, RUNS } from './codec.ts'

// A million inputs take two minutes and more.
t.setTimeout(120_000 + RUNS)

for (const [name, samples] of Object.entries(CODEC_SAMPLES)) t.test(name, async (t) => codecContract(t, samples))
