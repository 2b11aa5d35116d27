import type { Report } from '../src/embedded/report.ts';
import type { Stack, StackOptions } from './stack.ts';

/** What a measurement gets. */
export type Context = {
  readonly report: Report;
  /** What the full form has so many of: a tenth in the quick one. */
  readonly size: (full: number) => number;
  /** Has this stopped when the measurement ends; what was started last comes first. */
  readonly onStop: (stop: () => Promise<void>) => void;
  /** For a measurement that needs several stacks, one after another. */
  readonly stopAll: () => Promise<void>;
  /** Is stopped, and its data deleted, when the measurement ends. */
  readonly startStack: (options?: Omit<StackOptions, 'report'>) => Promise<Stack>;
};

/** What is promised, and what came of it. */
export type Target = { readonly name: string; readonly value: number } & (
  | { readonly atLeast: number }
  | { readonly atMost: number }
);

export type Outcome = {
  /** For the terminal; the rows of each have the same columns. */
  readonly tables: readonly (readonly Readonly<Record<string, string>>[])[];
  /** Below the tables, a line each. */
  readonly notes?: readonly string[];
  /** For the file. */
  readonly figures: object;
  readonly targets: readonly Target[];
};

export type Measurement = (context: Context) => Promise<Outcome>;
