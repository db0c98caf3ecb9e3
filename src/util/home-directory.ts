/** The user's home directory, which a container may lack. */
import { userInfo } from 'node:os'
import { isAbsolute } from 'node:path'

/**
 * Returns `$HOME`, otherwise the home directory of the user database, otherwise `undefined`. An empty or relative
 * `$HOME` counts as unset, because it would name the current directory.
 */
export function homeDirectory(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const variable = process.platform === 'win32' ? env['USERPROFILE'] : env['HOME']
  if (variable !== undefined && isAbsolute(variable)) return variable
  try {
    const { homedir } = userInfo()
    return isAbsolute(homedir) ? homedir : undefined
  } catch {
    return undefined // this user id has no entry
  }
}
