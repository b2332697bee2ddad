/**
 * Secrets are opaque values that reveal themselves only where they are used. Every revealed text is
 * remembered by {@link redact}, which all reporters, logs and transcripts run their output through.
 */

const known = new Set<string>()
const MASK = '•••'
const SHORTEST = 3

export class Secret {
  readonly name: string
  readonly #value: string
  constructor(name: string, value: string) {
    this.name = name
    this.#value = value
    addRedaction(value)
  }
  /** The clear text. Call it at the last moment, never store the result. */
  reveal(): string {
    return this.#value
  }
  toString(): string {
    return MASK
  }
  toJSON(): string {
    return MASK
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `Secret(${this.name})`
  }
}

/** Makes {@link redact} hide this text from now on. Texts shorter than 3 characters would mask everything. */
export function addRedaction(text: string): void {
  if (text.length < SHORTEST) return
  known.add(text)
  // The same secret also travels base64- and JSON-encoded in protocol transcripts.
  // Without Buffer, which browsers do not have.
  const binary = Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join('')
  known.add(btoa(binary).replace(/=+$/, ''))
  const json = JSON.stringify(text).slice(1, -1)
  if (json !== text) known.add(json)
}

/** `text` with every known secret replaced. */
export function redact(text: string): string {
  let clean = text
  for (const secret of known) if (clean.includes(secret)) clean = clean.replaceAll(secret, MASK)
  return clean
}
