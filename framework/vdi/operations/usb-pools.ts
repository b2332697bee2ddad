import { operation } from '../operation.ts'
import { body, each, type Infer, int, oneOf, pageOf, record, text } from '../schema.ts'

const UsbInfoVO = record(
  {},
  {
    ...each(text, 'domainName', 'hostId', 'ip', 'memo2', 'own', 'poolId', 'product', 'productId', 'usbName'),
    ...each(text, 'vendor', 'vendorId'),
  },
)
/** A USB device of a host. `own` is the VM that has it; `memo2` is 0 for passed through, 1 for redirected. */
export type UsbInfoVO = Infer<typeof UsbInfoVO>

const UsbPassThroughDto = body(each(text, 'hostId', 'usbName'), { own: text })
/** A USB device of a host, and the VM that has it or gets it (`own`). */
export type UsbPassThroughDto = Infer<typeof UsbPassThroughDto>

const UsbRedirectDto = body({ ...each(text, 'deviceName', 'domainId', 'hostId', 'hostIp'), operate: oneOf(2, 3) })
/** A redirection; `operate` is 2 to set, 3 to cancel it. */
export type UsbRedirectDto = Infer<typeof UsbRedirectDto>

/** Operations of USB devices. */
export const usbPools = {
  list: operation({
    name: 'usbPools.list',
    method: 'GET',
    path: '/ocloud/v1/usb',
    query: body({}, each(int, 'pageNum', 'pageSize')),
    answer: pageOf(UsbInfoVO),
  }),
  passThrough: operation({
    name: 'usbPools.passThrough',
    method: 'POST',
    path: '/ocloud/v1/usb/pass-through',
    body: UsbPassThroughDto,
  }),
  endPassThrough: operation({
    name: 'usbPools.endPassThrough',
    method: 'POST',
    path: '/ocloud/v1/usb/pass-through/delete',
    body: UsbPassThroughDto,
  }),
  redirect: operation({
    name: 'usbPools.redirect',
    method: 'POST',
    path: '/ocloud/v1/usb/redirect',
    body: UsbRedirectDto,
  }),
}
