import { MessageTestRuntime, setGlobalTestRuntime } from 'allure-js-commons/sdk/runtime'
import type { RuntimeMessage } from 'allure-js-commons/sdk'
import { runningScope } from './base-test.ts'

/** Keeps what the author's `allure.*` calls say with the attempt that said it. */
class ScopeRuntime extends MessageTestRuntime {
  // `sync` is made of this one; called outside of a test's body there is no result to put it into.
  override sendMessageSync(message: RuntimeMessage): void {
    runningScope()?.allureMessages.push(message)
  }

  override async sendMessage(message: RuntimeMessage): Promise<void> {
    this.sendMessageSync(message)
  }
}

/** Makes `import { step, label, … } from 'allure-js-commons'` work in specs. */
export function takeAllureCalls(): void {
  setGlobalTestRuntime(new ScopeRuntime())
}
