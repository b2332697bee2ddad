/**
 * The operations of the VDI platform that this project models, as `METHOD path` below `/ocloud`.
 *
 * A list of its own, not what the client happens to define: the field manifest must not shrink when the client
 * forgets one.
 */
const BY_AREA: Record<string, string[]> = {
  session: [
    'PATCH /v1/admin-user/password',
    'POST /v1/login',
    'POST /v1/login-sso',
    'POST /v1/logout',
    'POST /usermodule/login',
    'POST /usermodule/userlogin2',
  ],
  domains: [
    'GET /v1/domain',
    'POST /v1/domain',
    'GET /v1/domain/{id}',
    'PATCH /v1/domain/{id}',
    'POST /v1/domain/start',
    'POST /v1/domain/start-without-gpu',
    'POST /v1/domain/close',
    'POST /v1/domain/reboot',
    'POST /v1/domain/suspend',
    'POST /v1/domain/resume',
    'POST /v1/domain/sleep',
    'POST /v1/domain/wakeup',
    'POST /v1/domain/freeze',
    'POST /v1/domain/restore',
    'POST /v1/domain/rebase',
    'POST /v1/domain/delete',
    'POST /v1/domain/bind-user',
    'POST /v1/domain/unbind-user',
    'PATCH /v1/domain/mem-cpu',
    'POST /v1/domain/independent-disk',
    'POST /v1/domain/{id}/clone',
    'POST /v1/domain/{id}/to-model',
    'GET /v1/domain/{id}/child',
    'GET /v1/domain/{id}/nic',
    'GET /v1/domain/common-storage-pool',
  ],
  disks: [
    'GET /v1/domain/{id}/disk',
    'POST /v1/domain/{id}/disk',
    'DELETE /v1/domain/{domainId}/disk/{volumeId}',
    'POST /v1/domain/{domainId}/disk/{volumeId}/expand',
    'PATCH /v1/domain/{domainId}/disk/{volumeId}/speed-limit',
    'POST /v1/domain/{domainId}/disk/{volumeId}/unmount',
    'GET /v1/storage-volume',
    'POST /v1/storage-volume',
    'DELETE /v1/storage-volume/{volumeId}',
  ],
  snapshots: [
    'GET /v1/domain/{id}/snapshot',
    'POST /v1/domain/{id}/snapshot',
    'GET /v1/snapshot/{id}',
    'DELETE /v1/snapshot/{id}',
    'POST /v1/snapshot/{id}/restore',
  ],
  consoles: [
    'GET /v1/domain/{id}/port',
    'GET /v1/domain/{id}/spice-key',
    'GET /v1/domain/{id}/vnc-password',
    'GET /v1/domain/{id}/xml',
    'POST /v1/domain/{id}/sync-status',
  ],
  recycleBin: ['GET /v1/recycle', 'POST /v1/recycle/delete', 'POST /v1/recycle/restore'],
  deskPools: [
    'GET /v1/desk-pool',
    'POST /v1/desk-pool',
    'PATCH /v1/desk-pool/{id}',
    'DELETE /v1/desk-pool/{id}',
    'POST /v1/desk-pool/{id}/enable',
    'POST /v1/desk-pool/{id}/disable',
    'POST /v1/desk-pool/{id}/active',
    'POST /v1/desk-pool/{id}/file',
    'GET /v1/desk-pool/{id}/domain/list',
    'POST /v1/desk-pool/domain',
    'DELETE /v1/desk-pool/domain',
    'POST /v1/desk-pool/group',
    'DELETE /v1/desk-pool/group',
    'POST /v1/desk-pool/switch-model',
  ],
  hosts: [
    'GET /v1/host',
    'GET /v1/host/all',
    'GET /v1/host/{id}',
    'PATCH /v1/host/{id}/domain-limit',
    'GET /v1/host/{id}/hardware',
    'PATCH /v1/host/{id}/status',
    'POST /v1/host/{id}/sync-status',
    'GET /v1/host/{id}/uptime',
    'GET /v1/host/{id}/version',
  ],
  performance: [
    'GET /v1/panel/domain-number',
    'GET /v1/panel/host-number',
    'GET /v1/panel/host/performance',
    'GET /v1/panel/host/running/performance',
    'GET /v1/panel/host/{id}/performance',
  ],
  models: ['GET /v1/model', 'GET /v1/model/all', 'POST /v1/model/{id}/clone', 'POST /v1/model/{id}/to-domain'],
  users: [
    'GET /v1/group',
    'POST /v1/group',
    'POST /v1/group/delete',
    'GET /v1/group/tree',
    'GET /v1/user',
    'POST /v1/user',
    'PUT /v1/user',
    'POST /v1/user/close-domain',
    'POST /v1/user/delete',
    'GET /v1/user/detail',
    'GET /v1/user/domain',
    'PATCH /v1/user/password',
  ],
  events: ['GET /v1/event', 'GET /v1/event/{id}'],
  devices: [
    'GET /v1/usb',
    'POST /v1/usb/pass-through',
    'POST /v1/usb/pass-through/delete',
    'POST /v1/usb/redirect',
    'GET /v1/domain/{id}/serial',
    'POST /v1/domain/{id}/serial',
    'PUT /v1/domain/{domainId}/serial/{serialId}',
    'DELETE /v1/domain/{domainId}/serial/{serialId}',
    'GET /v1/domain/{id}/server-serial',
  ],
}

/** All modelled operations as `METHOD /ocloud/…`, sorted by path, then method. */
export const MODELLED_OPERATIONS: readonly string[] = Object.values(BY_AREA)
  .flat()
  .map((operation) => operation.replace(' ', ' /ocloud'))
  .sort(byPathThenMethod)

function byPathThenMethod(a: string, b: string): number {
  const [methodA = '', pathA = ''] = a.split(' ')
  const [methodB = '', pathB = ''] = b.split(' ')
  if (pathA !== pathB) return pathA < pathB ? -1 : 1
  return methodA < methodB ? -1 : Number(methodA > methodB)
}
