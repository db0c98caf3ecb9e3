/** Looks up programs as a shell does. */
import { accessSync, constants, statSync } from 'node:fs'
import { join } from 'node:path'

/** Returns whether a command can be executed: a file, or a name in one of the directories of `path`. */
export function isExecutable(command: string, path: string): boolean {
  if (command === '') return false
  const files = command.includes('/')
    ? [command]
    : path.split(':').map(directory => join(directory || '.', command))
  return files.some(file => {
    try {
      accessSync(file, constants.X_OK)
      return statSync(file).isFile()
    } catch {
      return false
    }
  })
}
