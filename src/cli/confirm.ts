/** Asks a person before something is lost; a script is taken at its word. */
import { createInterface } from 'node:readline/promises'
import type { Io } from './session.js'

/** True without asking unless standard input and standard error are a terminal. */
export async function confirmed(
  io: Pick<Io, 'stdin' | 'stderr'>,
  question: string,
): Promise<boolean> {
  if (!io.stdin.isTTY || !io.stderr.isTTY) return true
  const prompt = createInterface({ input: io.stdin, output: io.stderr })
  try {
    const answer = await prompt.question(`${question} [y/N] `)
    return /^y(es)?$/i.test(answer.trim())
  } finally {
    prompt.close()
  }
}
