import type { Operation } from './operation.ts'

interface Route {
  operation: Operation
  parts: string[]
}

/** Finds the operation of a request. Fixed parts of a path win over named ones. */
export class Router {
  readonly #routes: Route[]

  constructor(operations: readonly Operation[]) {
    this.#routes = operations
      .map((operation) => ({ operation, parts: operation.path.split('/') }))
      .toSorted((a, b) => named(a) - named(b))
  }

  /** @returns the operation with the parts of its path, `method` when only others have this path, or undefined. */
  find(
    method: string,
    pathname: string,
  ): { operation: Operation; path: Record<string, string> } | 'method' | undefined {
    const parts = pathname.split('/')
    const fitting = this.#routes.filter((route) => fits(route, parts))
    const route = fitting.find(({ operation }) => operation.method === method)
    if (!route) return fitting.length > 0 ? 'method' : undefined
    const path: Record<string, string> = {}
    for (const [index, part] of route.parts.entries()) {
      if (part.startsWith('{')) path[part.slice(1, -1)] = parts[index] as string
    }
    return { operation: route.operation, path }
  }
}

const named = ({ parts }: Route) => parts.filter((part) => part.startsWith('{')).length

function fits({ parts }: Route, given: string[]): boolean {
  return (
    parts.length === given.length &&
    parts.every((part, index) => (part.startsWith('{') ? given[index] !== '' : part === given[index]))
  )
}
