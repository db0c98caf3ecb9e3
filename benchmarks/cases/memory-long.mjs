/** Memory of a stream that runs for more than half a minute. */
import { MIB, scaled } from '../figures.mjs'
import { compareMemory } from './memory.mjs'

const SIZE = 16_384 * MIB

export const title = 'Memory: streams of 256 MiB and of 16 GiB'

export const run = (bench, { scale }) =>
  compareMemory(bench, { name: '16 GiB', size: scaled(SIZE, scale) })
