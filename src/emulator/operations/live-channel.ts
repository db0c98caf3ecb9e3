/** ListLiveChannel. No bucket has live channels, whose other operations are not implemented. */
import { xmlReply, type Reply } from '../reply.js'
import { requireBucket } from './bucket.js'
import type { OperationContext } from './operation-context.js'

export async function listLiveChannels(context: OperationContext): Promise<Reply> {
  await requireBucket(context)
  const { query } = context
  return xmlReply('ListLiveChannelResult', {
    Prefix: query.get('prefix') ?? '',
    Marker: query.get('marker') ?? '',
    MaxKeys: query.get('max-keys') ?? 100,
    IsTruncated: false,
    NextMarker: '',
  })
}
