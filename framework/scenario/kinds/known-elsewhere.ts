import { unsupportedError } from '../../core/index.ts'
import type { JsonSchema, StepNeed } from '../model/index.ts'
import { defineStep, type StepKind } from '../step-kind.ts'

const ANY: JsonSchema = {}
const PARAM_ALIASES = {
  pool_id: 'pool',
  template_id: 'template',
  max_concurrency: 'concurrency',
}

/** Verb → its parameters, as the VDI platform's steps are written. */
const VDI: Readonly<Record<string, string>> = {
  create_desk_pool: 'name count template',
  enable_desk_pool: 'pool',
  disable_desk_pool: 'pool',
  delete_desk_pool: 'pool',
  activate_desk_pool: 'pool',
  archive_desk_pool: 'pool',
  get_desk_pool_domains: 'pool',
  start_domain: '',
  shutdown_domain: '',
  force_shutdown_domain: '',
  reboot_domain: '',
  delete_domain: '',
  suspend_domain: '',
  resume_domain: '',
  sleep_domain: '',
  wake_domain: '',
  freeze_domain: 'freeze_type',
  unfreeze_domain: '',
  rebase_domain: '',
  create_domain: 'name template',
  start_all_domains: 'pool concurrent concurrency',
  bind_user: 'user_id',
  unbind_user: 'user_id',
  user_login: 'username password',
  user_logout: '',
  get_user_domain: 'user_id index',
  set_cpu_memory: 'cpu memory',
  add_disk: 'size',
  expand_disk: 'disk size',
  remove_disk: 'disk',
  snapshot_create: 'name',
  snapshot_restore: 'name',
  snapshot_delete: 'name',
  switch_model: 'template',
  host_info: 'host',
}
const OTHERS: readonly [action: string, need: StepNeed, params: string, aliases: string[]][] = [
  ['keyboard.send_text_to_all', 'vdi', 'pool text', ['send_keyboard_to_all']],
  ['verify.all_domains_running', 'vdi', 'pool', ['verify_all_domains_running']],
  ['verify.desk_pool_created', 'vdi', 'pool', ['verify_desk_pool_created']],
  ['screen.expect_resize', 'spice', 'width height', []],
  ['usb.redirect', 'spice', 'device', []],
  ['usb.release', 'spice', 'device', []],
  ['app.open', 'apps', 'app', ['open_application']],
  ['file.save', 'apps', '', ['save_file']],
]

/**
 * Step names that belong to parts which are not here. Files that use them are read, checked and converted; to
 * run them is refused before anything is sent.
 */
export const knownElsewhere: StepKind[] = [
  ...Object.entries(VDI).map(([verb, params]) => elsewhere(`vdi.${verb}`, 'vdi', params, [verb, `vdi_${verb}`])),
  ...OTHERS.map(([action, need, params, aliases]) => elsewhere(action, need, params, aliases)),
]

function elsewhere(action: string, need: StepNeed, params: string, aliases: string[]): StepKind {
  return defineStep({
    action,
    aliases,
    summary: `Needs ${need === 'vdi' ? 'a VDI platform' : need === 'spice' ? 'a SPICE session' : 'a driver of applications in the guest'}`,
    params: {
      properties: Object.fromEntries(
        params
          .split(' ')
          .filter(Boolean)
          .map((name) => [name, ANY]),
      ),
    },
    paramAliases: PARAM_ALIASES,
    needs: [need],
    run() {
      throw unsupportedError(
        `ATP_SCENARIO_NEEDS_${need.toUpperCase()}`,
        `${action} needs what is not configured here: ${need}`,
      )
    },
  })
}
