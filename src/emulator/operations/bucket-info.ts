/** GetBucketInfo, which repeats some of the configuration documents. */
import { xmlReply, type Reply } from '../reply.js'
import { OWNER } from '../settings.js'
import {
  ACCELERATION,
  ACCESS_BLOCK,
  ACCESS_MONITOR,
  configurationOf,
  ENCRYPTION,
  type BucketConfiguration,
} from './bucket-configuration.js'
import { bucketEndpoints, locationOf, requireBucket, RESOURCE_GROUP_ID } from './bucket.js'
import type { OperationContext } from './operation-context.js'
import { parseXml, type XmlElement } from './xml-body.js'

export async function getBucketInfo(context: OperationContext): Promise<Reply> {
  const bucket = await requireBucket(context)
  const read = async (configuration: BucketConfiguration): Promise<XmlElement | undefined> => {
    const document = configurationOf(bucket, configuration)
    return document === undefined ? undefined : parseXml(document, configuration.root)
  }
  const encryption = (await read(ENCRYPTION))?.child('ApplyServerSideEncryptionByDefault')
  const isAccelerated = (await read(ACCELERATION))?.text('Enabled') === 'true'
  return xmlReply('BucketInfo', {
    Bucket: {
      Comment: '',
      CreationDate: bucket.created,
      ...bucketEndpoints(context.settings),
      Location: locationOf(context.settings),
      Name: bucket.name,
      StorageClass: bucket.storageClass,
      Versioning: bucket.versioning,
      DataRedundancyType: bucket.redundancy ?? 'LRS',
      AccessMonitor: (await read(ACCESS_MONITOR))?.text('Status') ?? 'Disabled',
      TransferAcceleration: isAccelerated ? 'Enabled' : 'Disabled',
      CrossRegionReplication: 'Disabled',
      BlockPublicAccess: (await read(ACCESS_BLOCK))?.text('BlockPublicAccess') === 'true',
      ResourceGroupId: RESOURCE_GROUP_ID,
      Owner: OWNER,
      AccessControlList: { Grant: bucket.acl },
      ServerSideEncryptionRule: {
        SSEAlgorithm: encryption?.text('SSEAlgorithm') ?? 'None',
        KMSMasterKeyID: encryption?.text('KMSMasterKeyID') || undefined,
        KMSDataEncryption: encryption?.text('KMSDataEncryption') || undefined,
      },
      BucketPolicy: { LogBucket: '', LogPrefix: '' },
    },
  })
}
