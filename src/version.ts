import { readAsset } from './lib/assets.ts'

/** The program's version, from package.json. */
export const VERSION: string = (JSON.parse(readAsset('package.json')) as { version: string }).version
