/** Confirmation prompt before data is discarded. Only a terminal is asked; a script proceeds. */
import { createInterface } from 'node:readline/promises'
import type { Session } from './session.js'

/**
 * Resolves to the answer, or to `true` without asking unless standard input and standard error are terminals.
 */
export async function confirm(session: Session, question: string): Promise<boolean> {
  const { stdin, stderr } = session.io
  if (!stdin.isTTY || !stderr.isTTY) return true
  const isJson = session.logFormat === 'json'
  // As JSON, the question is a line, and the terminal itself echoes the answer.
  const prompt = createInterface({ input: stdin, output: isJson ? undefined : stderr })
  if (isJson) session.logLine(`${question} [y/N]`)
  try {
    const query = isJson ? '' : `${question} [y/N] `
    const answer = await prompt.question(query, { signal: session.signal })
    return /^y(es)?$/i.test(answer.trim())
  } catch (error) {
    if (session.signal.aborted) return false
    throw error
  } finally {
    prompt.close()
  }
}
