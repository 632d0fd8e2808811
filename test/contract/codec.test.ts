import t from 'tap'
import { CODEC_SAMPLES } from '../protocols/codec-samples.ts'
import { codecContract } from './codec.ts'

for (const [name, samples] of Object.entries(CODEC_SAMPLES)) t.test(name, async (t) => codecContract(t, samples))
