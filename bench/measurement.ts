import type { Report } from '../src/embedded/report.ts';
import type { Stack, StackOptions } from './stack.ts';

/** The services of the bench for one measurement. */
export type Context = {
  readonly report: Report;
  readonly isFull: boolean;
  /** The commit with which `ordinary` and `idle` compare this working tree. */
  readonly baseline: string;
  /** Scales a quantity of the full form: the quick form has a tenth of it. */
  readonly size: (full: number) => number;
  /** Registers a function that runs when the measurement ends, in reverse order of registration. */
  readonly onStop: (stop: () => Promise<void>) => void;
  /** Stops all parts now, for a measurement that needs several stacks one after another. */
  readonly stopAll: () => Promise<void>;
  /** Starts a stack. When the measurement ends, the stack is stopped and its data is deleted. */
  readonly startStack: (options?: Omit<StackOptions, 'report'>) => Promise<Stack>;
};

/** A measured value and its limit. */
export type Target = { readonly name: string; readonly value: number } & (
  | { readonly atLeast: number }
  | { readonly atMost: number }
);

export type Outcome = {
  /** Tables for the terminal. The rows of a table have the same columns. */
  readonly tables: readonly (readonly Readonly<Record<string, string>>[])[];
  /** Lines below the tables. */
  readonly notes?: readonly string[];
  /** Figures for the JSON file. */
  readonly figures: object;
  readonly targets: readonly Target[];
};

export type Measurement = (context: Context) => Promise<Outcome>;
