import { createHash } from 'node:crypto'
import { AtpError, isAtpError, messageOf, Scope, stateError, unsupportedError } from '../../core/index.ts'
import type { Checkpoint, DesktopVm } from '../../desktop/index.ts'
import { toErrorRecord } from '../../evidence/index.ts'
import type { VmRequest } from '../../leases/index.ts'
import { inScope } from './base-test.ts'
import { workerRuntime, type LeaseScope } from './runtime.ts'
import type { EvidenceSource, TestScope } from './test-scope.ts'

/** A checkpoint, and what its preparation is told apart by. */
export interface KeyedCheckpoint extends Checkpoint {
  /** Default: the text of the function. */
  source?: string
}

/** What is asked of a VM, and of the checkpoint that it is restored from. */
interface PreparedRequest {
  request: VmRequest
  checkpoint: KeyedCheckpoint | undefined
}

/**
 * Requests for VMs whose checkpoints exist: those that do not are made first, by the one test of the run that asks
 * first; the others wait.
 *
 * @throws `ATP_CHECKPOINT_PREPARE` for a preparation that failed, here or in another worker; `ATP_CHECKPOINT_*`.
 */
export async function withCheckpoints(scope: TestScope, wishes: readonly PreparedRequest[]): Promise<VmRequest[]> {
  const requests: VmRequest[] = []
  // One after the other: each may need a VM of its own to be made in.
  for (const wish of wishes) {
    const { request, checkpoint } = wish
    requests.push(checkpoint ? { ...request, checkpoint: await ensure(scope, { ...wish, checkpoint }) } : request)
  }
  return requests
}

/** The key of the checkpoint, once it exists. */
async function ensure(
  scope: TestScope,
  { request, checkpoint }: PreparedRequest & { checkpoint: KeyedCheckpoint },
): Promise<string> {
  const { name, prepare, source } = checkpoint
  const runtime = workerRuntime()
  if (request.ownership === 'attached' || !runtime.context.lab) {
    throw unsupportedCheckpoint(name, 'only machines that are made for the run have any')
  }
  const broker = await runtime.broker()
  const key = `${name}#${digest([request.profile, source ?? prepare.toString()])}`
  const claim = await broker.checkpoint(key, { signal: scope.signal })
  if (claim.ready) return key
  try {
    await make(scope, request, checkpoint, (lease) =>
      broker.keepCheckpoint(claim.claim, lease, { signal: scope.signal }),
    )
    return key
  } catch (cause) {
    // A test that was given up says nothing about the preparation.
    const givenUp = scope.signal.aborted || isAtpError(cause, 'ATP_INTERRUPTED')
    const error = givenUp ? undefined : prepareError(name, cause)
    await broker.giveUpCheckpoint(claim.claim, error).catch(() => {})
    throw error ?? cause
  }
}

/** Prepares a machine, has it saved, and gives it back. One that failed stays until the test has kept its evidence. */
async function make(
  scope: TestScope,
  request: VmRequest,
  { name, prepare }: Checkpoint,
  keep: (lease: string) => Promise<number>,
): Promise<void> {
  const title = `prepare checkpoint "${name}"`
  const { teardown, setup } = scope.context.timeouts
  const own = await scope.use(
    title,
    (signal) => new Scope(title, { signal, teardownTimeoutMs: teardown }),
    async (inner) => void (await inner.close()),
  )
  const evidence: EvidenceSource[] = []
  const { name: _, ...any } = request
  try {
    await scope.step(
      title,
      async () => {
        // Shared: nothing of ours may be left in it, no program and no held key.
        const wish: VmRequest = { ...any, ownership: 'shared' }
        const { id, vms } = await workerRuntime().take(leaseScope(scope, own, evidence), [wish])
        const vm = vms[0] as DesktopVm
        await inScope(scope, async () => prepare({ vm, step: scope.step.bind(scope) }))
        await vm.close()
        await keep(id)
      },
      { kind: 'checkpoint', timeoutMs: scope.context.timeouts.lease + setup },
    )
  } catch (error) {
    for (const source of evidence) scope.addEvidence(source)
    throw error
  }
  const [left] = await own.close()
  if (left) throw left
}

/** What a lease needs of a test, for a part of the test that ends before it. */
function leaseScope(scope: TestScope, own: Scope, evidence: EvidenceSource[]): LeaseScope {
  return {
    holder: `${scope.holder}: ${own.name}`,
    signal: own.signal,
    use: (name, create, destroy) => own.use(name, create, destroy),
    defer: (name, teardown) => own.defer(name, teardown),
    record: (event) => scope.record(event),
    lose: (error) => scope.lose(error),
    addEvidence: (source) => void evidence.push(source),
  }
}

/** For machines that cannot be restored. */
export function unsupportedCheckpoint(name: string, why: string): Error {
  return unsupportedError('ATP_CHECKPOINT_UNSUPPORTED', `there can be no checkpoint "${name}": ${why}`, {
    remedy: 'prepare the machine in the test, or in a fixture of your own',
  })
}

function prepareError(name: string, cause: unknown): AtpError {
  const error = stateError(
    'ATP_CHECKPOINT_PREPARE',
    `checkpoint "${name}" could not be prepared: ${messageOf(cause)}`,
    {
      cause,
      context: { checkpoint: name },
      verdict: toErrorRecord(cause).verdict,
    },
  )
  // The reader wants to see the line of the preparation.
  const frames = cause instanceof Error ? (cause.stack ?? '').split('\n').filter((line) => /^ +at /.test(line)) : []
  if (frames.length > 0) error.stack = [`${error.name}: ${error.message}`, ...frames].join('\n')
  return error
}

function digest(parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 12)
}
