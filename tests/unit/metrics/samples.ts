/** One line of Prometheus' text format. */
export interface Sample {
  name: string
  labels: Record<string, string>
  value: number
}

/** Reads a page; throws at a line that is none of the format. */
export function samplesOf(page: string): Sample[] {
  return page
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const match = /^([a-zA-Z_:][\w:]*)(?:\{((?:\w+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)$/.exec(line)
      if (!match) throw new Error(`no sample: ${line}`)
      const [, name = '', text = '', value] = match
      const labels = [...text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(
        ([, key = '', quoted = '']) =>
          [key, quoted.replaceAll(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char))] as const,
      )
      return { name, labels: Object.fromEntries(labels), value: value === '+Inf' ? Infinity : Number(value) }
    })
}

/** The sum over all samples of this name with at least these labels; undefined when there is none. */
export function valueOf(samples: readonly Sample[], name: string, labels: Record<string, string>): number | undefined {
  const found = samples.filter(
    (sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
  )
  return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0)
}
