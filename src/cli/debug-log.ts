/** `--debug`: logs one line per request, without anything that could be a secret. */
import { watchRequests } from './request-watcher.js'

/** Logs requests until the returned function is called. */
export function logRequests(log: (line: string) => void): () => void {
  return watchRequests(request => {
    const {
      method,
      operation,
      host,
      path,
      partNumber,
      statusOrErrorCode,
      elapsed,
      bodyBytes,
      requestId,
    } = request
    const partText = partNumber === undefined ? '' : ` part ${partNumber}`
    const requestIdText = requestId === undefined ? '' : ` request ${requestId}`
    log(
      `${method} ${operation} ${host}${path}${partText}: ${statusOrErrorCode}, ${elapsed.toFixed(0)} ms, ${bodyBytes} bytes${requestIdText}`,
    )
  })
}
