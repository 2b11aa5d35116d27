import { useState } from 'react';
import { type AnyVariables, type CombinedError, type TypedDocumentNode, useMutation } from 'urql';
import { describeError } from '../ui/states.tsx';

export type InputProblem = { readonly path: string; readonly message: string };

/** An error that a mutation returns: of the interface Error, and of InputError if it has problems. */
type Failure = {
  readonly message: string;
  /** Undefined if there was no answer. */
  readonly code?: string;
  readonly problems?: readonly InputProblem[];
};

type Payload<Result> = Exclude<Result, { readonly message: string }>;

export type Action<Variables, Result> = {
  /** Resolves with the payload; undefined if the mutation failed. */
  readonly run: (variables: Variables) => Promise<Payload<Result> | undefined>;
  readonly isRunning: boolean;
  /** The error of the last run. */
  readonly failure: Failure | undefined;
};

/** A mutation, whose field is a union of its payload and of errors. */
export function useAction<Data, Variables extends AnyVariables, Result extends object>(
  mutation: TypedDocumentNode<Data, Variables>,
  resultOf: (data: Data) => Result,
): Action<Variables, Result> {
  const [{ fetching }, execute] = useMutation(mutation);
  const [failure, setFailure] = useState<Failure>();
  const run = async (variables: Variables) => {
    const { data, error } = await execute(variables);
    const result = data == null ? failureOf(error) : resultOf(data);
    const isFailed = isFailure(result);
    setFailure(isFailed ? result : undefined);
    // `as`: TypeScript does not exclude union members from a type parameter.
    return isFailed ? undefined : (result as Payload<Result>);
  };
  return { run, isRunning: fetching, failure };
}

function failureOf(error: CombinedError | undefined): Failure {
  return { message: error === undefined ? '' : describeError(error) };
}

function isFailure(result: object): result is Failure {
  return 'message' in result;
}
