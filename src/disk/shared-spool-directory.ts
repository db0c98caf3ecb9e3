/**
 * The spool directory of a host whose records are in a store that several machines share. Uploads whose records
 * are in the same directory, such as those of `oss-spool put`, are left to `LocalRecordStore`, and it leaves
 * these: the name of a file with bytes says which of the two wrote it.
 */
import { isSharedUploadFile, SpoolDirectory } from './spool-directory.js'

export class SharedSpoolDirectory extends SpoolDirectory {
  protected override get uploadText(): string {
    return 'an upload whose record is in a shared store'
  }

  protected override hasForeignFile(names: readonly string[]): boolean {
    return !names.every(isSharedUploadFile)
  }

  /** Does nothing: notes in this directory are of uploads whose records are here. */
  protected override async sweepNotes(): Promise<void> {}
}
