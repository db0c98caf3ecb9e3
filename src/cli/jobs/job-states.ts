/** States of jobs that `jobs ls` lists. */
import { UsageError } from '../exit-status.js'

/** States of BullMQ, in the order of the list: those of interest first. Paused jobs count as waiting. */
const LISTED_STATES = [
  'active',
  'waiting-children',
  'failed',
  'delayed',
  'prioritized',
  'waiting',
  'completed',
] as const

export type ListedState = (typeof LISTED_STATES)[number]

/** States that are listed unless others are requested. */
export const DEFAULT_STATES: readonly ListedState[] = LISTED_STATES.filter(
  state => state !== 'completed',
)

export const ENDED_STATES: ReadonlySet<string> = new Set<ListedState>(['failed', 'completed'])

/** Parses a list such as `waiting,failed`. @throws UsageError */
export function parseStates(text: string): ListedState[] {
  const names = text.split(',').map(name => name.trim())
  const states = LISTED_STATES.filter(state => names.includes(state))
  if (states.length === new Set(names).size) return states
  throw new UsageError(`--state must be one or more of ${LISTED_STATES.join(',')}`)
}
