import type { ResolvedConfig } from '../config/index.ts'
import { BrokerClient } from '../leases/index.ts'
import { newRunId } from '../runner/run-id.ts'
import { brokerStart } from '../runner/session.ts'
import { stateDir } from '../runner/state-dir.ts'

/** Runs `work` with a connection to the broker of this configuration, which is started if it does not run. */
export async function connectCli<T>(config: ResolvedConfig, work: (broker: BrokerClient) => Promise<T>): Promise<T> {
  const broker = await BrokerClient.connect({
    stateDir: stateDir(),
    run: newRunId(),
    kind: 'cli',
    start: brokerStart(config),
  })
  try {
    return await work(broker)
  } finally {
    broker.close()
  }
}
