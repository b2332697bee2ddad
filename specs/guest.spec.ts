import { describe, expect, test } from '@ocloudview/atp'

describe('客户机命令与文件', { tags: ['guest', 'smoke'] }, () => {
  test('a command runs in the guest', async ({ guest, step }) => {
    const uname = await step('uname', () => guest.shell('uname -s'))
    expect(uname).toMatchObject({ exitCode: 0, stdoutText: 'Linux\n' })
    const failing = await guest.shell('echo 出错 >&2; exit 3')
    expect(failing).toMatchObject({ exitCode: 3, stderrText: '出错\n' })
  })

  test('a file written later is waited for', async ({ vm, guest }) => {
    await guest.shell('(sleep 0.5; echo 你好 > /tmp/note.txt) > /dev/null 2>&1 &')
    await expect(guest.file('/tmp/note.txt')).toContain('你好')
    await expect(vm).toBeRunning()
  })

  test('每个测试都得到一台干净的虚拟机', async ({ guest }) => {
    await expect(guest.file('/tmp/note.txt')).not.toExist()
  })
})
