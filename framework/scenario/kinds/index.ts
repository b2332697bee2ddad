import type { StepKind } from '../step-kind.ts'
import * as command from './command.ts'
import * as flow from './flow.ts'
import * as guestFile from './guest-file.ts'
import * as keyboard from './keyboard.ts'
import { knownElsewhere } from './known-elsewhere.ts'
import { expectLatency } from './latency.ts'
import * as mouse from './mouse.ts'
import * as screen from './screen.ts'
import * as serial from './serial.ts'
import * as spice from './spice.ts'
import { spiceEncodings } from './spice-encodings.ts'
import * as spiceData from './spice-data.ts'
import * as usb from './usb.ts'
import { vdiCheckKinds } from './vdi-checks.ts'
import { vdiPoolKinds } from './vdi-pools.ts'
import { vdiUserKinds } from './vdi-users.ts'
import { vdiVmKinds } from './vdi-vms.ts'
import { verifierVerify } from './verifier.ts'
import * as vm from './vm.ts'

/** Every step kind that comes with the framework, in the order documentation shows them. */
export const builtInKinds: readonly StepKind[] = [
  vm.vmConnect,
  vm.vmDisconnect,
  keyboard.keyboardType,
  keyboard.keyboardPress,
  keyboard.keyboardSendKeys,
  keyboard.keyboardDown,
  keyboard.keyboardUp,
  mouse.mouseMove,
  mouse.mouseClick,
  mouse.mouseDoubleClick,
  mouse.mouseDown,
  mouse.mouseUp,
  mouse.mouseScroll,
  mouse.mouseDrag,
  command.commandExec,
  guestFile.fileRead,
  guestFile.fileWrite,
  serial.serialSend,
  serial.serialExpect,
  screen.screenScreenshot,
  screen.screenWaitStable,
  screen.screenWaitChange,
  screen.screenExpectImage,
  screen.screenExpectText,
  screen.screenExpectResize,
  screen.screenFirst,
  spice.spiceMeasure,
  spiceEncodings,
  spiceData.spiceClipboardWrite,
  spiceData.spiceClipboardRead,
  spiceData.spiceSendFile,
  spiceData.spiceShareFolder,
  spiceData.spicePortSend,
  spiceData.spicePortExpect,
  usb.usbRedirect,
  usb.usbRelease,
  guestFile.expectFile,
  command.expectCommand,
  vm.expectVmStatus,
  expectLatency,
  command.verifyCommandSuccess,
  command.verifyOutputContains,
  command.verifyInputReceived,
  verifierVerify,
  flow.verifyCustom,
  flow.wait,
  flow.log,
  flow.group,
  flow.loop,
  flow.parallel,
  flow.scenarioRun,
  flow.custom,
  ...vdiPoolKinds,
  ...vdiVmKinds,
  ...vdiUserKinds,
  ...vdiCheckKinds,
  ...knownElsewhere,
]
