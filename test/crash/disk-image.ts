/**
 * Content of a disk after a power cut. Replays a trace of a process's operations into a model of a file
 * system that keeps two states of every file and directory: the current one and the synced one.
 */
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** Line of the trace that `preload.mjs` writes. */
export interface TraceEntry {
  readonly op:
    'open' | 'mkdir' | 'unlink' | 'rm' | 'rename' | 'write' | 'truncate' | 'trim' | 'sync'
  readonly path: string
  readonly to?: string
  /** Number of the open file. */
  readonly file?: number
  readonly data?: string
  readonly position?: number
  readonly size?: number
  /** Number of operations that had completed when this one began. */
  readonly before: number
}

/**
 * Kind of loss:
 * - `all`: everything that was not synced, both directory entries and data;
 * - `data`: directory entries survive, but unsynced data becomes zeros;
 * - `names`: unsynced entries of the spool directory are lost, entries of an upload's directory survive, and
 *   files are truncated to their synced content.
 */
export type Loss = 'all' | 'data' | 'names'

interface FileNode {
  readonly kind: 'file'
  now: Buffer
  synced: Buffer
  /** Earlier states of `now`, by the number of completed operations. A sync covers the state it began in. */
  readonly history: { at: number; content: Buffer }[]
}

interface DirectoryNode {
  readonly kind: 'directory'
  now: Map<string, Node>
  synced: Map<string, Node>
  readonly history: { at: number; entries: Map<string, Node> }[]
}

type Node = FileNode | DirectoryNode

export class DiskImage {
  readonly #root: string
  readonly #top: DirectoryNode
  readonly #open = new Map<number, Node>()
  #completed = 0

  /** @param root – directory that exists; its present content is synced */
  constructor(root: string) {
    this.#root = root
    this.#top = read(root)
  }

  play(entry: TraceEntry): void {
    this.#completed++
    const { op, path, file = 0 } = entry
    const data = Buffer.from(entry.data ?? '', 'base64')
    if (op === 'mkdir') this.#makeDirectory(path)
    else if (['unlink', 'rm', 'rmdir'].includes(op))
      this.#change(dirname(path), e => e.delete(basename(path)))
    else if (op === 'rename') this.#rename(path, entry.to ?? path)
    else if (op === 'open') this.#open.set(file, this.#find(path) ?? this.#create(path))
    else if (op === 'sync') this.#sync(this.#open.get(file), entry.before)
    else if (op === 'trim') this.#trim(file, entry.position ?? 0, entry.size ?? 0)
    else if (op === 'truncate') {
      this.#write(file, now => Buffer.concat([now, Buffer.alloc(entry.size ?? 0)], entry.size ?? 0))
    } else {
      this.#write(file, now => {
        const at = entry.position ?? now.length
        const after = now.subarray(at + data.length)
        return Buffer.concat([
          now.subarray(0, at),
          Buffer.alloc(Math.max(0, at - now.length)),
          data,
          after,
        ])
      })
    }
  }

  /** Replaces the real directory with the content that survives the loss. */
  restore(loss: Loss): void {
    rmSync(this.#root, { recursive: true, force: true })
    put(this.#root, this.#top, loss, 0)
  }

  #find(path: string): Node | undefined {
    if (path === this.#root) return this.#top
    const parent = this.#find(dirname(path))
    return parent?.kind === 'directory' ? parent.now.get(basename(path)) : undefined
  }

  #create(path: string): Node {
    const node = file()
    this.#change(dirname(path), entries => entries.set(basename(path), node))
    return node
  }

  #makeDirectory(path: string): void {
    if (this.#find(path) !== undefined) return
    if (this.#find(dirname(path)) === undefined) this.#makeDirectory(dirname(path))
    this.#change(dirname(path), entries => entries.set(basename(path), directory()))
  }

  #rename(from: string, to: string): void {
    const node = this.#find(from)
    if (node === undefined) throw new Error(`${from} is not in the trace`)
    this.#change(dirname(from), entries => entries.delete(basename(from)))
    this.#change(dirname(to), entries => entries.set(basename(to), node))
  }

  #change(path: string, change: (entries: Map<string, Node>) => void): void {
    const node = this.#find(path)
    if (node?.kind !== 'directory') return // its parent was removed, too
    change(node.now)
    node.history.push({ at: this.#completed, entries: new Map(node.now) })
  }

  #write(number: number, change: (now: Buffer) => Buffer): void {
    const node = this.#open.get(number)
    if (node?.kind !== 'file') throw new Error(`file ${number} is written but was never opened`)
    node.now = change(node.now)
    node.history.push({ at: this.#completed, content: node.now })
  }

  /** Applies a hole to the synced state as well, since a disk may persist it immediately, without a sync. */
  #trim(number: number, position: number, size: number): void {
    const within = ({ length }: Buffer, at: number): number => Math.min(at, length)
    const holed = (content: Buffer): Buffer =>
      Buffer.from(content).fill(0, within(content, position), within(content, position + size))
    const node = this.#open.get(number)
    if (node?.kind !== 'file') throw new Error(`file ${number} is trimmed but was never opened`)
    for (const state of node.history.splice(0)) {
      node.history.push({ ...state, content: holed(state.content) })
    }
    node.now = holed(node.now)
    node.synced = holed(node.synced)
  }

  #sync(node: Node | undefined, before: number): void {
    if (node?.kind === 'file') {
      node.synced = node.history.findLast(({ at }) => at <= before)?.content ?? node.synced
    } else if (node?.kind === 'directory') {
      node.synced = node.history.findLast(({ at }) => at <= before)?.entries ?? node.synced
    }
  }
}

function file(content = Buffer.alloc(0)): FileNode {
  return { kind: 'file', now: content, synced: content, history: [] }
}

function directory(entries: [string, Node][] = []): DirectoryNode {
  return { kind: 'directory', now: new Map(entries), synced: new Map(entries), history: [] }
}

/** Reads a directory with all its content as synced. */
function read(path: string): DirectoryNode {
  return directory(
    readdirSync(path, { withFileTypes: true }).map(entry => {
      const child = join(path, entry.name)
      return [entry.name, entry.isDirectory() ? read(child) : file(readFileSync(child))]
    }),
  )
}

function put(path: string, node: Node, loss: Loss, depth: number): void {
  if (node.kind === 'file') {
    writeFileSync(path, loss === 'data' ? zeroed(node) : node.synced, { mode: 0o600 })
    return
  }
  mkdirSync(path, { mode: 0o700 })
  chmodSync(path, 0o700)
  const current = loss === 'data' || (loss === 'names' && depth > 1)
  for (const [name, child] of current ? node.now : node.synced) {
    put(join(path, name), child, loss, depth + 1)
  }
}

/** Returns content with the file's size in which unsynced blocks are zeros, as if never written. */
function zeroed({ now, synced }: FileNode): Buffer {
  const kept = synced.subarray(0, now.length)
  return Buffer.concat([kept, Buffer.alloc(now.length - kept.length)])
}
