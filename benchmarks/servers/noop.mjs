/** A server that reads bodies to nowhere and says 200: the least that any server costs. */
import { createServer } from 'node:http'
import { listening } from './listening.mjs'

export function startNoop() {
  return listening(
    createServer((request, response) => {
      request.resume().on('end', () => response.end())
    }),
  )
}
