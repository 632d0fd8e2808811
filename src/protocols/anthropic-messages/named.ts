import { finderOf, oneIdUnless } from '../named-objects.ts'

/** Files that a request to Anthropic names. What code has put out in an earlier turn (`bash_code_execution_output`) asks for none. */
export const anthropicNamed = finderOf({ file_id: oneIdUnless((type) => type.endsWith('_output')) })
