/**
 * Next steps after failures that have no hint of their own: of the system, of Redis, of the installation, and of code
 * that is not ours. Only an error that none of these explains is called a bug.
 */
import { errorCode } from '../util/error-code.js'
import { errorMessage, isArgumentError, isError } from '../util/error-shape.js'

/** It has no spool. */
const EMULATOR = 'oss-spool emulator'

/** Errors of Redis and its clients that have no code. */
const REDIS_ERROR = /^(RedisError|ReplyError|MaxRetriesPerRequestError|ClusterAllFailedError)$/
const REDIS_MESSAGE =
  /^(Connection is closed|WRONGPASS|NOAUTH|NOPERM|OOM|READONLY|MISCONF|LOADING|CLUSTERDOWN)\b/

/** Failures of the network, which concern a server and not this disk. */
const NETWORK_CODE =
  /^E(AI_AGAIN|CONN\w+|HOST\w+|NET\w+|NOTFOUND|PIPE|PROTO|TIMEDOUT|SHUTDOWN|NOTCONN|AI_\w+)$/

/**
 * Returns the next step.
 * @param command – command that failed, such as `oss-spool put`; empty for an error of the spool directory
 * @param propose – words a command line with the given flags
 */
export function hintForError(
  error: unknown,
  command: string,
  propose: (...args: string[]) => string,
): string {
  const code = errorCode(error) ?? ''
  if (isOfRedis(error)) return 'Check the Redis server and REDIS_URL, then run the command again.'
  if (/^ERR_(MODULE_NOT_FOUND|DLOPEN_FAILED|REQUIRE_ESM)$|^(MODULE|ADDON)_NOT_FOUND$/.test(code)) {
    return 'The installation is incomplete or for another platform. Run "npm install oss-spool" again.'
  }
  if (code === 'ENOMEM' || isOutOfMemory(error)) {
    return 'Free memory, or lower --part-size, --parallel or --parallel-uploads.'
  }
  if (/^WebAssembly\.\w+\(\): Out of memory/.test(errorMessage(error))) {
    return 'Raise the limit of virtual memory (ulimit -v), then run the command again.'
  }
  if (code.startsWith('EADDR')) return addressHint(command)
  if (NETWORK_CODE.test(code))
    return 'Check the network and the address, then run the command again.'
  if (isOfEmbeddedOss(error, command)) return 'Use another directory for --local.'
  if (/^(E[A-Z0-9]+|ERR_SYSTEM_ERROR|ERR_FS_\w+)$/.test(code))
    return diskHint(code, command, propose)
  if (command === 'oss-spool worker' && !isArgumentError(error)) {
    return 'Fix the source or the queue, then add the job again.'
  }
  return 'This is probably a bug. Please report it with the output of --debug.'
}

function diskHint(code: string, command: string, propose: (...args: string[]) => string): string {
  if (code === 'EMFILE' || code === 'ENFILE') {
    return 'Raise the limit of open files (ulimit -n), or lower --parallel-uploads.'
  }
  if (code === 'ENAMETOOLONG' && command !== EMULATOR)
    return 'Use a shorter path, or set --spool to a shorter one.'
  if (code === 'EAGAIN')
    return 'Raise the limit of processes (ulimit -u), then run the command again.'
  if (command === EMULATOR) return 'Use another --dir.'
  return `Run "${propose('doctor')}" to check the spool directory, or set --spool to another one.`
}

/** Returns whether the directory of `--local` could not be created. That of the spool has a `SpoolError`. */
function isOfEmbeddedOss(error: unknown, command: string): boolean {
  const isOfSpool = command === ''
  const isMkdir = isError(error) && 'syscall' in error && error.syscall === 'mkdir'
  return isMkdir && !isOfSpool && command !== EMULATOR
}

function addressHint(command: string): string {
  return command === 'oss-spool worker'
    ? 'Use another address for --health.'
    : 'Use another --host or --port.'
}

function isOfRedis(error: unknown): boolean {
  return isError(error) && (REDIS_ERROR.test(error.name) || REDIS_MESSAGE.test(error.message))
}

function isOutOfMemory(error: unknown): boolean {
  return /^(Array buffer allocation failed|Invalid (string|array) length)/.test(errorMessage(error))
}
