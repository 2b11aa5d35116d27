import { useState } from 'react';
import type { Action, InputProblem } from '../graphql/use-action.ts';
import { isAt } from './problems.ts';

type Failure = Action<never, object>['failure'];

type FormOptions = {
  /** The failure of the mutation that the form runs: its problems are shown at their fields. */
  readonly failure?: Failure;
};

/** A form, for the component that shows it. */
export type FormState = {
  readonly failure: Failure;
  /** Another object after each submission that found problems. */
  readonly checked: unknown;
  /** The problems of no field that is shown. Complete when the fields have been made. */
  readonly otherProblems: () => readonly InputProblem[];
};

/** The props of a field that its form knows. */
export type FieldState<Value> = {
  readonly path: string;
  readonly problems: readonly InputProblem[];
  readonly value: Value;
  readonly onChange: (value: Value) => void;
};

/** The values of a form, and the problems of its fields: those that the form finds itself, or those of the mutation. */
export function useForm<Values extends Readonly<Record<string, unknown>>>(
  initial: Values | (() => Values),
  { failure: answered }: FormOptions = {},
) {
  const [values, setValues] = useState(initial);
  const [found, setFound] = useState<readonly InputProblem[]>([]);
  // The answer is that to an earlier submission if the form has found problems since.
  const failure = found.length > 0 ? undefined : answered;
  const problems = failure?.problems ?? found;
  const shown: string[] = [];
  /** `path` is the place of the field in the input of the mutation, if that is not its name. */
  const field = <Name extends keyof Values & string>(name: Name, path: string = name): FieldState<Values[Name]> => {
    shown.push(path);
    const onChange = (value: Values[Name]) => setValues((current) => ({ ...current, [name]: value }));
    return { path, problems, value: values[name], onChange };
  };
  /** Shows the problems that the form has found; whether there is none. */
  const check = (result: readonly InputProblem[]): boolean => {
    setFound(result);
    return result.length === 0;
  };
  const state: FormState = {
    failure,
    checked: failure ?? found,
    otherProblems: () => problems.filter((problem) => !shown.some((path) => isAt(problem, path))),
  };
  return { values, field, check, state };
}
