import { randomBytes } from 'node:crypto'
import { describe, expect, Secret, test as base } from '@ocloudview/atp'

/** A user of the platform who has the test's desktop, for the life of the test. */
const test = base.extend('user', ({ scope, vdi, vm }) =>
  scope.use(
    'user of the platform',
    async () => {
      const name = `zhang${randomBytes(3).toString('hex')}`
      const password = new Secret('password of the user', randomBytes(6).toString('hex'))
      await vdi.users.create({ sAMAccountName: name, sn: '张', givenName: '三', group: 'ou=ocloud', password })
      const desktops = (await vdi.domains.listAll({})).filter((one) => one.name === vm.name).map(({ id }) => id)
      await vdi.domains.bindUser(name, desktops)
      return { name, password, desktops }
    },
    ({ name }) => vdi.users.delete(name, 'ou=ocloud'),
  ),
)

describe('用户登录', { tags: ['vdi'] }, () => {
  test.override('vmOptions', { platform: true })

  test('用户登录平台，只看到自己的桌面', async ({ vdi, user }) => {
    const session = await vdi.users.login(user.name, user.password)
    expect(session.domains.map(({ id }) => id)).toEqual(user.desktops)
    const wrong = new Secret('wrong password', 'not this one')
    await expect(vdi.users.login(user.name, wrong)).rejects.toMatchObject({ context: { code: 5099 } })
  })

  test('用户在桌面的控制台登录', { timeout: 120_000 }, async ({ guest, keyboard, user, step, skip }) => {
    const { id, name } = await guest.osInfo()
    skip(id !== 'atp-guest', `it types at the text console of the lab's guest; this desktop runs ${name}`)
    const terminal = guest.file('/dev/vcs1')
    await step('客户机里有这个账号', async () => {
      const hash = await guest.shell('mkpasswd -m sha256 -P 0', { input: user.password.reveal() })
      const entry = `${user.name}:${hash.stdoutText.trim()}:1001:1001:${user.name}:/tmp:/bin/sh`
      await guest.shell('echo "$1" >> /etc/passwd', { args: [entry] })
    })
    await step('键入用户名和密码', async () => {
      await keyboard.type('exec login\n', { verify: 'require' })
      await expect(terminal).toContain('login:')
      await keyboard.type(`${user.name}\n`, { verify: 'require' })
      await expect(terminal).toContain('Password:')
      await keyboard.type(user.password, { verify: 'require' })
      await keyboard.press('enter', { verify: 'require' })
    })
    await step('键入的命令以该用户运行', async () => {
      await expect(terminal).toContain(`$`)
      await keyboard.type('id > /tmp/who\n', { verify: 'require' })
      await expect(guest.file('/tmp/who')).toContain(`(${user.name})`)
    })
  })
})
