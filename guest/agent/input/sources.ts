import type { InputSource } from '../../core/index.ts'
import { WindowsHooks } from '../windows/hooks.ts'
import { EvdevDevices } from './evdev-devices.ts'
import { SharedSource } from './shared-source.ts'

/** Keyboard and mouse of this guest. */
export interface InputSources {
  keyboard: InputSource
  mouse: InputSource
  list: readonly InputSource[]
  close(): void
}

/** How a guest of this platform sees input. Nothing is opened before somebody watches. */
export function openInputSources(platform: NodeJS.Platform): InputSources {
  if (platform === 'win32') return windowsSources()
  const devices = [new EvdevDevices('keyboard'), new EvdevDevices('mouse')] as const
  const keyboard = new SharedSource('keyboard', devices[0])
  const mouse = new SharedSource('mouse', devices[1])
  return { keyboard, mouse, list: [keyboard, mouse], close: () => devices.forEach((each) => each.close()) }
}

function windowsSources(): InputSources {
  const hooks = new WindowsHooks()
  const keyboard = new SharedSource('keyboard', hooks.keyboard)
  // A hook tells pixels of the screen: see WindowsHooks.
  const mouse = new SharedSource('mouse', hooks.mouse, WindowsHooks.TOLERANCE)
  return { keyboard, mouse, list: [keyboard, mouse], close: () => hooks.close() }
}
