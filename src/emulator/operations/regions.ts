/** DescribeRegions. The emulator has one region, its own. */
import { OssError } from '../oss-error.js'
import { xmlReply, type Reply } from '../reply.js'
import { locationOf } from './bucket.js'
import type { OperationContext } from './operation-context.js'

export async function describeRegions({ query, settings }: OperationContext): Promise<Reply> {
  const region = locationOf(settings)
  const requested = query.get('regions') ?? ''
  if (requested !== '' && requested !== region) throw new OssError('NoSuchRegion')
  return xmlReply('RegionInfoList', {
    RegionInfo: {
      Region: region,
      InternetEndpoint: `${region}.aliyuncs.com`,
      InternalEndpoint: `${region}-internal.aliyuncs.com`,
      AccelerateEndpoint: 'oss-accelerate.aliyuncs.com',
    },
  })
}
