/** Compares the steps of two sides. */
import type { Step } from './facts.js'

/** Facts that differ in the same way in one or more steps. */
export interface Difference {
  /** `status`, `header NAME`, the path of an XML element, `body`, `value` of a note, or `request`. */
  readonly fact: string
  /** Value of OSS; empty if it has none. */
  readonly oss: string
  readonly emulator: string
  /** Where it was found: `check: request`, each once. */
  readonly where: readonly string[]
  /** Number of steps. */
  readonly count: number
}

/** Compares check by check. After a request that only one side sent, the rest of its check cannot be compared. */
export function compareSteps(oss: readonly Step[], emulator: readonly Step[]): Difference[] {
  const differences = new Map<string, Difference>()
  const add = (step: Step, fact: string, ossValue: string, emulatorValue: string): void => {
    const name = JSON.stringify([fact, ossValue, emulatorValue])
    const known = differences.get(name)
    const where = new Set([...(known?.where ?? []), `${step.check}: ${step.request}`])
    const values = { fact, oss: ossValue, emulator: emulatorValue }
    differences.set(name, { ...values, where: [...where], count: (known?.count ?? 0) + 1 })
  }
  const emulatorSteps = groupByCheck(emulator)
  const ossSteps = groupByCheck(oss)
  for (const check of new Set([...ossSteps.keys(), ...emulatorSteps.keys()])) {
    const [mine = [], other = []] = [ossSteps.get(check), emulatorSteps.get(check)]
    for (let i = 0; i < Math.max(mine.length, other.length); i++) {
      const [a, b] = [mine[i], other[i]]
      const step = a ?? b
      if (step === undefined) break
      if (a === undefined || b === undefined || a.request !== b.request) {
        add(step, 'request', a?.request ?? '', b?.request ?? '')
        break
      }
      for (const fact of factsToCompare(a, b)) {
        const [inOss = '', inEmulator = ''] = [a.facts.get(fact), b.facts.get(fact)]
        if (inOss !== inEmulator) add(step, fact, inOss, inEmulator)
      }
    }
  }
  return [...differences.values()]
}

/** Where one side succeeded and the other did not, nothing else can be the same. */
function factsToCompare({ facts: a }: Step, { facts: b }: Step): Iterable<string> {
  const isSame = ['reply', 'status'].every(fact => a.get(fact) === b.get(fact))
  return isSame ? new Set([...a.keys(), ...b.keys()]) : ['reply', 'status', 'Error/Code']
}

function groupByCheck(steps: readonly Step[]): Map<string, Step[]> {
  const groups = new Map<string, Step[]>()
  for (const step of steps) {
    const group = groups.get(step.check)
    if (group === undefined) groups.set(step.check, [step])
    else group.push(step)
  }
  return groups
}
