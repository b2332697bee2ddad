import { operation } from '../operation.ts'
import { body, each, int, record, text } from '../schema.ts'

/** Administrator login. `password` is the MD5 of the password, 32 lower-case hexadecimal digits. */
const LoginDto = body({ username: text, password: text }, { client: text })
/** A session. `roleLevel` is a text on the wire. */
const LoginVO = record(
  { token: text },
  { ...each(text, 'username', 'roleLevel'), ...each(int, 'resourcePri', 'userPri') },
)

/** Opens a session of an administrator. */
export const login = operation({
  name: 'session.login',
  method: 'POST',
  path: '/ocloud/v1/login',
  body: LoginDto,
  answer: LoginVO,
  idempotent: true,
  session: false,
})

/** Ends the session of the token. */
export const logout = operation({ name: 'session.logout', method: 'POST', path: '/ocloud/v1/logout', idempotent: true })

/** Operations of sessions. */
export const sessionOperations = [login, logout]
