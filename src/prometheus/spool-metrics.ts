/**
 * Gauges of the spool directory of a worker. The names that `--metrics FILE` has too have the same meaning there. Reads
 * the records of uploads whose bytes are on this host only, at most every 15 s.
 */
import { Gauge, type Registry } from 'prom-client'
import type { WorkerInternals } from '../bullmq/worker-internals.js'
import type { UploadStatus } from '../index.js'
import { CachedReading } from './cached-reading.js'
import { readDiskUsage, type DiskUsage } from './disk-usage.js'

const MAX_AGE_MS = 15_000
const TIMEOUT_MS = 2_000
const PHASES = ['spooling', 'sealed', 'completing'] as const

export function collectSpoolMetrics(worker: WorkerInternals, register: Registry): void {
  const limits = { maxAge: MAX_AGE_MS, timeout: TIMEOUT_MS }
  const uploads = new CachedReading(() => readUploads(worker), limits)
  const disk = new CachedReading(() => readDiskUsage(worker.spool.dir), limits)
  const registers = [register]
  const byPhase = (
    name: string,
    help: string,
    valueOf: (statuses: readonly UploadStatus[]) => number,
  ): void => {
    const gauge: Gauge<'phase'> = new Gauge({
      name,
      help,
      labelNames: ['phase'],
      registers,
      collect: async () => {
        const statuses = await uploads.get()
        if (statuses === undefined) return gauge.reset()
        for (const phase of PHASES)
          gauge.set({ phase }, valueOf(statuses.filter(status => status.phase === phase)))
      },
    })
  }
  byPhase(
    'oss_spool_unfinished_uploads',
    'Unfinished uploads whose bytes are on this host.',
    statuses => statuses.length,
  )
  byPhase(
    'oss_spool_unfinished_bytes',
    'Bytes of unfinished uploads that were read from their sources.',
    statuses => statuses.reduce((sum, { spooled }) => sum + spooled, 0),
  )
  const oldest = new Gauge({
    name: 'oss_spool_oldest_sealed_age_seconds',
    help: 'Time since the oldest seal or last commit of an unfinished upload on this host; 0 if there is none.',
    registers,
    collect: async () => {
      const statuses = await uploads.get()
      if (statuses === undefined) oldest.remove()
      else oldest.set(oldestSealedAge(statuses, Date.now()) / 1000)
    },
  })
  const diskGauge = (name: string, help: string, valueOf: (usage: DiskUsage) => number): void => {
    const gauge = new Gauge({
      name,
      help,
      registers,
      collect: async () => {
        const usage = await disk.get()
        if (usage === undefined) gauge.remove()
        else gauge.set(valueOf(usage))
      },
    })
  }
  diskGauge('oss_spool_disk_used_bytes', 'Bytes on disk in the spool directory.', u => u.used)
  diskGauge(
    'oss_spool_disk_free_bytes',
    'Free bytes of the file system of the spool directory.',
    u => u.free,
  )
  diskGauge(
    'oss_spool_disk_size_bytes',
    'Size of the file system of the spool directory.',
    u => u.size,
  )
}

async function readUploads({ spool, checkpointStore }: WorkerInternals): Promise<UploadStatus[]> {
  const statuses = await spool.localUploads()
  return statuses.filter(({ host }) => host === checkpointStore.host)
}

/** Returns the time in ms since the oldest seal or last commit. @param now – ms since 1970 */
export function oldestSealedAge(statuses: readonly UploadStatus[], now: number): number {
  const times = statuses.flatMap(({ sealedAt, committedAt }) => sealedAt ?? committedAt ?? [])
  return Math.max(0, ...times.map(time => now - Date.parse(time)))
}
