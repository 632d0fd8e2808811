import type { Fields } from '../fields.ts'

/** Names of fields that are left out, each once and without its place in a list: `input.phase`. */
export class Dropped {
  readonly #names = new Set<string>()

  get names(): string[] {
    return [...this.#names]
  }

  add(name: string): void {
    this.#names.add(name.replaceAll(/\.\d+(?=\.|$)/g, ''))
  }

  /** All that nobody has read of these fields; an empty list or object says nothing. */
  rest(fields: Fields): void {
    for (const name of fields.left()) {
      const value = fields.value[name.slice(fields.path === '' ? 0 : fields.path.length + 1)]
      if (typeof value !== 'object' || Object.keys(value ?? {}).length > 0) this.add(name)
    }
  }
}
