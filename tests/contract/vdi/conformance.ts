/**
 * Compares a table of operations, the client's or the stand-in's, with the field manifest. Both describe their
 * operations in forms of their own; `client-table.ts` and `stand-in-table.ts` bring them into the form of this file.
 */
import type { ByDocument, FieldFact, FieldManifest, OperationFact, TypeName } from '../../../scripts/vdi-fields.ts'

/** What a value may be on the wire. Null is left out: the documents say nothing about it. */
export interface Wire {
  /**
   * A JSON type; `time` in any of the forms that a Java `Timestamp` may have, `map` for free keys, `any` where nothing
   * is said; something else, which no document has, for a mixture.
   */
  kind: string
  fields?: Record<string, WireField>
  items?: Wire
}

export interface WireField {
  wire: Wire
  required: boolean
}

/** One operation of a table. */
export interface TableEntry {
  /** `METHOD /path` */
  operation: string
  envelope: string
  query: Record<string, WireField>
  body: Wire | undefined
  answer: Wire | undefined
}

/**
 * `client`: sends some of the documented fields, and knows all of those that may be answered, since it refuses unknown
 * ones; what it insists on in an answer although no document promises it is a finding. `stand-in`: the other way round.
 */
export type Side = 'client' | 'stand-in'

/** How the fields of a table must fit those of the manifest. */
interface Fit {
  /** Every documented field must be there. */
  complete: boolean
  /** A field that the documents require must be required. */
  demandsDocumented: boolean
  /** A field that no document requires must not be required. */
  demandsNoMore: boolean
}

const FITS: Record<Side, Record<'request' | 'answer', Fit>> = {
  client: {
    request: { complete: false, demandsDocumented: true, demandsNoMore: false },
    answer: { complete: true, demandsDocumented: false, demandsNoMore: true },
  },
  'stand-in': {
    request: { complete: true, demandsDocumented: true, demandsNoMore: true },
    answer: { complete: false, demandsDocumented: false, demandsNoMore: false },
  },
}

/**
 * Everything in which a table differs from the manifest, one sentence each, sorted: `DomainVO.status: string here,
 * integer in the documents`. Places are operations, or schemas of the manifest, which many operations share; what a
 * generic schema holds is left out of its name.
 */
export function differences(side: Side, table: readonly TableEntry[], manifest: FieldManifest): string[] {
  const comparison = new Comparison(manifest)
  for (const entry of table) comparison.compare(entry, FITS[side])
  return [...comparison.found].sort()
}

class Comparison {
  readonly found = new Set<string>()
  readonly #manifest: FieldManifest
  /** Which schemas were compared with which value, since schemas may hold themselves. */
  readonly #seen = new Map<Wire, Set<string>>()

  constructor(manifest: FieldManifest) {
    this.#manifest = manifest
  }

  compare(entry: TableEntry, fits: Record<'request' | 'answer', Fit>): void {
    const { operation } = entry
    const fact: OperationFact | undefined = this.#manifest.operations[operation]
    if (!fact) return this.#note(operation, 'not in the manifest')
    const { answer } = fact
    if (answer.envelope !== entry.envelope) {
      this.#note(operation, `envelope ${entry.envelope} here, ${answer.envelope} in the documents`)
    }
    this.#fields(operation, entry.query, fact.query ?? {}, fits.request)
    this.#part(`${operation} body`, entry.body, fact.body, fits.request)
    this.#part(`${operation} answer`, entry.answer, answer.data, fits.answer)
  }

  #part(place: string, wire: Wire | undefined, type: ByDocument<TypeName> | undefined, fit: Fit): void {
    if (wire && type !== undefined) this.#value(place, wire, type, fit)
    else if (wire) this.#note(place, 'not in the documents')
    else if (type !== undefined) this.#note(place, 'missing here')
  }

  #fields(place: string, wires: Record<string, WireField>, facts: Record<string, FieldFact>, fit: Fit): void {
    for (const [name, { wire, required }] of Object.entries(wires)) {
      const at = `${place}.${name}`
      const fact = Object.hasOwn(facts, name) ? facts[name] : undefined
      if (!fact) {
        this.#note(at, 'not in the documents')
        continue
      }
      if (fact.required && !required && fit.demandsDocumented)
        this.#note(at, 'optional here, required in the documents')
      if (!fact.required && required && fit.demandsNoMore) this.#note(at, 'required here, optional in the documents')
      this.#value(at, wire, fact.type, fit)
    }
    for (const [name, { required }] of Object.entries(facts)) {
      if (Object.hasOwn(wires, name)) continue
      if (fit.complete || (required && fit.demandsDocumented)) this.#note(`${place}.${name}`, 'missing here')
    }
  }

  #value(place: string, wire: Wire, documented: ByDocument<TypeName>, fit: Fit): void {
    const types = typeof documented === 'string' ? [documented] : [documented.O, documented.S]
    const type = types.find((candidate) => fitsKind(wire.kind, this.#kind(candidate)))
    if (type === undefined) {
      return this.#note(
        place,
        `${wire.kind} here, ${types.map((one) => this.#kind(one)).join(' or ')} in the documents`,
      )
    }
    if (wire.items && type.endsWith('[]')) return this.#value(`${place}[]`, wire.items, type.slice(0, -2), fit)
    const facts = this.#manifest.schemas[type]
    if (!wire.fields || !facts) return
    const seen = this.#seen.get(wire) ?? new Set()
    if (seen.has(type)) return
    this.#seen.set(wire, seen.add(type))
    this.#fields(type.replace(/<.*>$/, ''), wire.fields, facts, fit)
  }

  /** The kind of a type of the manifest. */
  #kind(type: TypeName): string {
    if (type.endsWith('[]')) return 'array'
    if (type === 'Timestamp') return 'time'
    if (type.startsWith('map<')) return 'map'
    if (type === 'object') return 'any'
    return Object.hasOwn(this.#manifest.schemas, type) ? 'object' : type
  }

  #note(place: string, what: string): void {
    this.found.add(`${place}: ${what}`)
  }
}

/** A documented text may be a time: the documents write most of them so. */
function fitsKind(here: string, documented: string): boolean {
  return here === documented || (here === 'time' && documented === 'string')
}
