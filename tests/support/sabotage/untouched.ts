import type { DesktopVm } from '../../../framework/desktop/index.ts'
import type { Delivery, InputOptions } from '../../../framework/input/api.ts'
import type { Dice } from './seed.ts'

/** The ways into a guest and back: the lab's machine profile, which program injects, and who observes. */
export const WAYS = [
  { profile: 'ps2', via: 'qmp', observe: 'evdev' },
  { profile: 'virtio', via: 'qmp', observe: 'evdev' },
  { profile: 'usb', via: 'qmp', observe: 'evdev' },
  { profile: 'spice', via: 'spice', observe: 'evdev' },
  { profile: 'agent', via: 'qmp', observe: 'agent' },
] as const

const TEXT = [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,;:!?+-*/=_@#$%&()[]{}<>|"\'']
// None does anything to the guest's console: no new virtual terminal, no reboot.
const KEYS = ['esc', 'tab', 'left', 'home', 'f9', 'shift', 'a', '7', 'spc']
const CHORDS = ['ctrl+c', 'shift+f9', 'ctrl+shift+a', 'shift+tab', 'ctrl+left']
const LONGEST = 40

type Act = (vm: DesktopVm, dice: Dice, options: InputOptions) => Promise<Delivery>

const point = (dice: Dice) => [dice.between(0, 600), dice.between(0, 350)] as const
const step = (dice: Dice) => dice.pick([-1, 1]) * dice.between(1, 300)

const ACTS: readonly Act[] = [
  (vm, dice, options) => vm.keyboard.type(textOf(dice), options),
  (vm, dice, options) => vm.keyboard.type(textOf(dice), options),
  (vm, dice, options) => vm.keyboard.press(dice.pick(KEYS), options),
  (vm, dice, options) => vm.keyboard.press(dice.pick(CHORDS), options),
  (vm, dice, options) => vm.keyboard.press('f9', { ...options, holdMs: dice.between(1, 300) }),
  async (vm, dice, options) => {
    await vm.keyboard.down('shift', options)
    await vm.keyboard.type(dice.letters(5), options)
    return vm.keyboard.up('shift', options)
  },
  (vm, dice, options) => vm.mouse.move(...point(dice), options),
  (vm, dice, options) => vm.mouse.moveBy(step(dice), step(dice), options),
  (vm, dice, options) => {
    const [x, y] = point(dice)
    return vm.mouse.click({
      ...options,
      x,
      y,
      button: dice.pick(['left', 'middle', 'right']),
      count: dice.between(1, 3),
    })
  },
  (vm, dice, options) => vm.mouse.scroll(dice.pick([-1, 1]) * dice.between(1, 4), options),
  async (vm, dice, options) => {
    await vm.mouse.down('left', options)
    await vm.mouse.move(...point(dice), options)
    return vm.mouse.up('left', options)
  },
]

/**
 * One random verified action in a guest that nobody meddles with.
 *
 * @throws `ATP_INPUT_DAMAGED`, `ATP_VERIFY_IMPOSSIBLE`: a false alarm, or real loss.
 */
export async function actUntouched(
  vm: DesktopVm,
  dice: Dice,
  { via, observe }: Pick<(typeof WAYS)[number], 'via' | 'observe'>,
): Promise<Delivery> {
  return dice.pick(ACTS)(vm, dice, { via, observe, verify: 'require' })
}

/** What an account of undamaged input says. */
export function spotless({ sent }: Delivery) {
  return { outcome: 'delivered', seen: sent, lost: 0, duplicated: 0, reordered: 0, stuck: [], differences: [] }
}

function textOf(dice: Dice): string {
  return Array.from({ length: dice.between(1, LONGEST) }, () => dice.pick(TEXT)).join('')
}
