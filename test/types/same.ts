/**
 * Type tests are compiled by `npm run typecheck` and never run. Code that must not compile has a
 * `@ts-expect-error` comment above it, which is itself an error if the code does compile.
 */

// oxlint-disable typescript/no-unnecessary-type-parameters -- compares two generic functions

/** True only for identical types, not for types that are merely assignable to each other. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

/** Compiles only if both types are identical. */
export declare function same<A, B>(..._proof: Same<A, B> extends true ? [] : [never]): void
