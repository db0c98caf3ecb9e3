/** `oss-spool jobs`: adds, lists, cancels and retries the jobs of a queue. */
import { Option, type Command } from 'commander'
import type { AddJobFlags } from '../jobs/add-job.js'
import type { RetryJobsFlags } from '../jobs/end-jobs.js'
import { parseStates } from '../jobs/job-states.js'
import type { ListJobsFlags } from '../jobs/list-jobs.js'
import type { JobFlags } from '../jobs/open-queue.js'
import {
  addExamples,
  addOutputOptions,
  addRedisOptions,
  addSettings,
  valueOption,
} from '../shared-options.js'
import type { Session } from '../session.js'
import { parseCount, parseDuration } from '../units.js'

export function defineJobs(program: Command, session: Session): void {
  const jobs = program
    .command('jobs')
    .description('add, list, cancel and retry the jobs of a queue')
    .helpCommand(false)
  defineAdd(jobs, session)
  defineLs(jobs, session)
  defineCancel(jobs, session)
  defineRetry(jobs, session)
  addExamples(jobs, [
    `oss-spool jobs add orders/2026-11-24.csv --source orders --args '{"day":"2026-11-24"}'`,
    'oss-spool jobs ls --state failed',
  ])
}

function defineAdd(jobs: Command, session: Session): void {
  const command = addSettings(addQueueOptions(jobs.command('add')), 'bucket')
    .description('add a job that uploads an object from a source of the workers')
    .argument('<KEY>', 'key of the object, or oss://BUCKET/KEY with the bucket of the workers')
    .addOption(valueOption('--source <NAME>', 'name of the source'))
    .addOption(valueOption('--args <JSON>', 'argument of the source'))
    .addOption(
      valueOption('--id <ID>', 'id of the job; adding it again does nothing (default: a new one)'),
    )
    .addOption(
      valueOption('--priority <N>', 'after all jobs with a lower one (default: 0)', parseCount),
    )
    .addOption(valueOption('--delay <TIME>', 'wait this long, such as 10m', parseDuration))
    .addOption(valueOption('--attempts <N>', 'attempts of the job (default: 10)', parseCount))
    .action((key: string, flags: AddJobFlags) =>
      session.run(flags, async merged => {
        const { addJob } = await import('../jobs/add-job.js')
        return addJob(session, key, merged)
      }),
    )
  addExamples(command, [
    `oss-spool jobs add orders/2026-11-24.csv --source orders --args '{"day":"2026-11-24"}'`,
    'oss-spool jobs add oss://exports/users.csv --bucket exports --source users --id users --delay 10m',
  ])
}

function defineLs(jobs: Command, session: Session): void {
  const command = addQueueOptions(jobs.command('ls'))
    .description('list the jobs of a queue')
    .addOption(
      valueOption(
        '--state <STATES>',
        'only jobs in these states, such as waiting,failed (default: all but completed)',
        parseStates,
      ),
    )
    .addOption(valueOption('--limit <N>', 'list at most this many jobs (default: 100)', parseCount))
    .action((flags: ListJobsFlags) =>
      session.run(flags, async merged => {
        const { listJobs } = await import('../jobs/list-jobs.js')
        return listJobs(session, merged)
      }),
    )
  addExamples(command, [
    'oss-spool jobs ls',
    `oss-spool jobs ls --state failed --json | jq -r '[.id, .error] | @tsv'`,
  ])
}

function defineCancel(jobs: Command, session: Session): void {
  const command = addQueueOptions(jobs.command('cancel'))
    .description('cancel jobs and abort their uploads; published objects stay')
    .argument('<JOB...>', 'ids of jobs')
    .action((ids: string[], flags: JobFlags) =>
      session.run(flags, async merged => {
        const { cancelJobs } = await import('../jobs/end-jobs.js')
        return cancelJobs(session, ids, merged)
      }),
    )
  addExamples(command, [
    'oss-spool jobs cancel users',
    'oss-spool jobs cancel users --queue nightly',
  ])
}

function defineRetry(jobs: Command, session: Session): void {
  const command = addQueueOptions(jobs.command('retry'))
    .description('run failed jobs again; sealed uploads are finished without their sources')
    .argument('[JOB...]', 'ids of jobs')
    .addOption(new Option('--failed', 'retry all failed jobs of the queue'))
    .action((ids: string[], flags: RetryJobsFlags) =>
      session.run(flags, async merged => {
        const { retryJobs } = await import('../jobs/end-jobs.js')
        return retryJobs(session, ids, merged)
      }),
    )
  addExamples(command, ['oss-spool jobs retry users', 'oss-spool jobs retry --failed'])
}

/** Adds the options of every command of `jobs`. */
function addQueueOptions(command: Command): Command {
  return addRedisOptions(addOutputOptions(command))
}
