import { readFileSync } from 'node:fs'

/** Cores that groups of processes keep busy, from now until the returned function is called. */
export function cpuMeter<K extends string>(groups: Record<K, readonly number[]>): () => Record<K, number> {
  const names = Object.keys(groups) as K[]
  const used = () => names.map((name) => groups[name].reduce((sum, pid) => sum + cpuSeconds(pid), 0))
  const [before, started] = [used(), performance.now()]
  return () => {
    const [after, seconds] = [used(), (performance.now() - started) / 1000]
    const cores = names.map((name, index) => [name, ((after[index] as number) - (before[index] as number)) / seconds])
    return Object.fromEntries(cores) as Record<K, number>
  }
}

/** proc(5): user and system time, in hundredths of a second, are the fields 14 and 15 of `stat`. */
function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}
