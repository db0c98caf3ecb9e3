/** Sends signals to a process, or also to its descendants, such as the commands of a pipeline and the shell that runs it. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { isSystemError } from '../disk/durable-fs.js'

/** Sends `signal` to a process and all its descendants. Those that have exited meanwhile are skipped. */
export function killTree(pid: number, signal: NodeJS.Signals): void {
  // Listed first: when the parent has exited, its children no longer name it.
  for (const each of [pid, ...descendants(pid, listParents())]) killProcess(each, signal)
}

/**
 * Sends `signal` to a process, and continues it if it is stopped, because it would not handle the signal. Has no effect if
 * it has exited, or belongs to another user, as `sudo` does.
 */
export function killProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
    process.kill(pid, 'SIGCONT')
  } catch (error) {
    if (!isSystemError(error, 'ESRCH', 'EPERM')) throw error
  }
}

/**
 * Returns the descendants of a process, parents before their children.
 * @param parents – process id and parent's id of each process
 */
export function descendants(
  pid: number,
  parents: readonly (readonly [pid: number, parent: number])[],
): number[] {
  const found = [pid]
  for (const each of found) {
    for (const [child, parent] of parents) {
      if (parent === each && !found.includes(child)) found.push(child)
    }
  }
  return found.slice(1)
}

function listParents(): (readonly [number, number])[] {
  return process.platform === 'linux' ? readProc() : runPs()
}

/** Container images often have no `ps`. */
function readProc(): (readonly [number, number])[] {
  const pids = readdirSync('/proc').filter(name => /^\d+$/.test(name))
  return pids.flatMap(pid => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      // The name of the program, in parentheses, may contain any character.
      const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      return [[Number(pid), Number(parent)] as const]
    } catch {
      return [] // exited meanwhile
    }
  })
}

function runPs(): (readonly [number, number])[] {
  const text = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
  return [...text.matchAll(/(\d+)\s+(\d+)/g)].map(([, pid, parent]) => [
    Number(pid),
    Number(parent),
  ])
}
