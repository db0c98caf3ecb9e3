/**
 * Loaded before a worker: counts the operations that change something below one directory, and at
 * the n-th of them kills the process or lets the operation fail. Can write a trace of them all, from
 * which a disk after a power cut is made. What to do is in the environment, as JSON.
 */
import fs from 'node:fs'
import fsp from 'node:fs/promises'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import { sep } from 'node:path'
import { promisify } from 'node:util'

/** `{ root, at, do: 'kill' | 'fail', when: 'before' | 'after', code, only, trace }` */
const plan = JSON.parse(process.env['OSS_SPOOL_TEST_DISK'])
const trace = plan.trace === undefined ? undefined : fs.openSync(plan.trace, 'a')

/** How many operations there were, and how many of them are over. */
let count = 0
let over = 0
/** Open files by descriptor; numbered, since paths change while a file is open. */
const files = new Map()
let opened = 0

process.on('exit', () => {
  fs.writeSync(1, `${JSON.stringify({ operations: count })}\n`)
})

/** What a worker does after its one failure is another upload, and no step of this one. */
const NEXT = /-next(-[0-9a-f]{12})?(\/|$)/

const inside = path => `${path}${sep}`.startsWith(`${plan.root}${sep}`) && !NEXT.test(path)
const die = () => process.kill(process.pid, 'SIGKILL')

function record(entry) {
  over++
  if (trace !== undefined) fs.writeSync(trace, `${JSON.stringify(entry)}\n`)
}

/**
 * Does one operation, unless it is the one.
 * @param half does a part of it: a full disk takes what still fits
 */
async function step(entry, run, half) {
  if (!inside(entry.path)) return run()
  const met = ++count === plan.at
  const before = over
  if (met && plan.do === 'kill' && plan.when === 'before') die()
  if (met && plan.do === 'fail') {
    await half?.()
    const { op, path } = entry
    fs.writeSync(1, `${JSON.stringify({ failed: { op, path } })}\n`)
    throw Object.assign(new Error(`${plan.code}: injected, ${op} '${path}'`), {
      code: plan.code,
      syscall: op,
      path,
    })
  }
  const result = await run()
  record({ ...entry, before })
  if (met && plan.do === 'kill') die()
  return result
}

const isWriting = flags =>
  typeof flags === 'number' ? (flags & fs.constants.O_CREAT) !== 0 : /[wa]/.test(flags ?? 'r')

/** An open that makes a file is a step; any other is only remembered. */
async function opening(path, flags, run, fdOf) {
  const file = ++opened
  const entry = { op: 'open', path: String(path), file }
  const result = isWriting(flags) ? await step(entry, run) : await run()
  if (inside(entry.path)) {
    files.set(fdOf(result), entry)
    if (!isWriting(flags)) record({ ...entry, before: over })
  }
  return result
}

/** For functions of a descriptor. */
function onFile(fd, op, details, run, half) {
  const { file, path } = files.get(fd) ?? { path: '' }
  return step({ op, path, file, ...details }, run, half)
}

const base64 = data => Buffer.from(data).toString('base64')

// --- node:fs/promises ---------------------------------------------------------------------------

const original = { ...fsp }
for (const op of ['mkdir', 'unlink', 'rm', 'rmdir']) {
  fsp[op] = (path, options) => step({ op, path }, () => original[op](path, options))
}
fsp.rename = (path, to) => step({ op: 'rename', path, to }, () => original.rename(path, to))
fsp.open = (path, flags, mode) =>
  opening(
    path,
    flags,
    () => original.open(path, flags, mode),
    handle => handle.fd,
  )

const sample = await original.open(process.execPath)
const handles = Object.getPrototypeOf(sample)
await sample.close()
const { writeFile, write, sync, datasync, truncate, close } = handles

handles.writeFile = function (data, options) {
  const bytes = Buffer.from(data)
  return onFile(
    this.fd,
    'append',
    { data: base64(bytes) },
    () => writeFile.call(this, data, options),
    () => writeFile.call(this, bytes.subarray(0, bytes.length / 2)),
  )
}
handles.write = function (data, position) {
  return onFile(this.fd, 'write', { data: base64(data), position }, () =>
    write.call(this, data, position),
  )
}
handles.truncate = function (size) {
  return onFile(this.fd, 'truncate', { size }, () => truncate.call(this, size))
}
handles.sync = function () {
  return onFile(this.fd, 'sync', {}, () => sync.call(this))
}
handles.datasync = function () {
  return onFile(this.fd, 'sync', {}, () => datasync.call(this))
}
handles.close = function () {
  files.delete(this.fd)
  return close.call(this)
}

// --- node:fs, with callbacks --------------------------------------------------------------------

const callbacks = { ...fs }

/** Both forms of a function: `promisify` of a wrapper must give what it gives of the original. */
function replace(name, wrapped) {
  fs[name] = (...args) => {
    const callback = args.pop()
    wrapped(...args).then(
      result => callback(null, name === 'writev' ? result.bytesWritten : result),
      callback,
    )
  }
  fs[name][promisify.custom] = wrapped
}

const open = promisify(callbacks.open)
replace('open', (path, flags, mode) =>
  opening(
    path,
    flags,
    () => open(path, flags, mode),
    fd => fd,
  ),
)
const writev = promisify(callbacks.writev)
replace('writev', (fd, chunks, position) => {
  const bytes = Buffer.concat(chunks)
  return onFile(
    fd,
    'write',
    { data: base64(bytes), position },
    () => writev(fd, chunks, position),
    () => writev(fd, [bytes.subarray(0, bytes.length / 2)], position),
  )
})
const ftruncate = promisify(callbacks.ftruncate)
replace('ftruncate', (fd, size) => onFile(fd, 'truncate', { size }, () => ftruncate(fd, size)))
for (const name of ['fsync', 'fdatasync']) {
  const synchronise = promisify(callbacks[name])
  replace(name, fd => onFile(fd, 'sync', {}, () => synchronise(fd)))
}
// Not yet imported by anyone: what is replaced here is what they get.
const native = createRequire(import.meta.url)('fs-native-extensions')
const { trim } = native
native.trim = (fd, position, size) =>
  onFile(fd, 'trim', { position, size }, () => trim(fd, position, size))
const closeFd = promisify(callbacks.close)
replace('close', fd => {
  files.delete(fd)
  return closeFd(fd)
})

syncBuiltinESMExports()
