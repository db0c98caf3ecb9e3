/**
 * Type tests are compiled by `npm run typecheck` and never run. What must not compile has
 * `@ts-expect-error` above it, which is itself an error as soon as it does compile.
 */

// oxlint-disable typescript/no-unnecessary-type-parameters -- it is the comparison of two generic functions

/** True for two types that are the same, also where one can be assigned to the other. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

/** Compiles if and only if both types are the same. */
export declare function same<A, B>(..._proof: Same<A, B> extends true ? [] : [never]): void
