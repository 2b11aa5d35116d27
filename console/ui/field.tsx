import { type ComponentProps, type ReactNode, useEffect, useId, useRef, useState } from 'react';
import type { Action, InputProblem } from '../graphql/use-action.ts';
import { messages } from '../messages.ts';
import { Button } from './button.tsx';
import styles from './field.module.css';
import { Icon } from './icons.tsx';
import { isAt, partOf } from './problems.ts';
import type { FormState } from './use-form.ts';
import { visibleLine } from './visible-text.ts';

type Described = { readonly id: string; readonly 'aria-describedby': string; readonly 'aria-invalid': boolean };

type FieldProps = {
  readonly label: string;
  /** Whether only screen readers get the label: of a field in a row of fields, whose placeholder says what it is. */
  readonly hidesLabel?: boolean | undefined;
  readonly hint?: ReactNode;
  /** The problems of the whole form, and the path of this field: those at or below it are shown here. */
  readonly problems?: readonly InputProblem[] | undefined;
  readonly path?: string | undefined;
  /** The entries of a list that is typed as one text: a problem names the entry. */
  readonly entries?: readonly string[] | undefined;
};

/** A control with its label, a hint and its problems. */
function Field(props: FieldProps & { readonly children: (described: Described) => ReactNode }) {
  const { label, hidesLabel = false, hint, problems = [], path, entries, children } = props;
  const id = useId();
  const own = path === undefined ? [] : problems.filter((problem) => isAt(problem, path));
  return (
    <div className={styles.field}>
      <label htmlFor={id} className={hidesLabel ? 'visually-hidden' : undefined}>
        {label}
      </label>
      {children({ id, 'aria-describedby': `${id}-problem ${id}-hint`, 'aria-invalid': own.length > 0 })}
      <Problems id={`${id}-problem`} problems={own} partOf={(problem) => partOf(problem, path ?? '', entries)} />
      <Hint id={`${id}-hint`}>{hint}</Hint>
    </div>
  );
}

type FieldSetProps = Pick<FieldProps, 'label' | 'hint' | 'problems' | 'path'> & { readonly children: ReactNode };

/** Fields that are one setting together. Only the problems at `path` itself are shown here: each field has its own. */
export function FieldSet({ label, hint, problems = [], path, children }: FieldSetProps) {
  const id = useId();
  const own = problems.filter((problem) => problem.path === path);
  return (
    <fieldset
      className={styles.field}
      aria-describedby={`${id}-problem ${id}-hint`}
      tabIndex={-1}
      data-invalid={own.length > 0}
    >
      <legend>{label}</legend>
      {children}
      <Problems id={`${id}-problem`} problems={own} partOf={() => ''} />
      <Hint id={`${id}-hint`}>{hint}</Hint>
    </fieldset>
  );
}

type ProblemsProps = {
  readonly id?: string;
  readonly problems: readonly InputProblem[];
  readonly partOf: (problem: InputProblem) => string;
};

function Problems({ id, problems, partOf: nameOf }: ProblemsProps) {
  return (
    <div id={id} className={styles.problem}>
      {problems.map((problem) => (
        <p key={`${problem.path} ${problem.message}`}>
          <Icon name="rejected" />
          <span>
            {nameOf(problem) !== '' && <code>{visibleLine(nameOf(problem))} </code>}
            {problem.message}
          </span>
        </p>
      ))}
    </div>
  );
}

function Hint({ id, children }: { readonly id: string; readonly children: ReactNode }) {
  if (children === undefined) return null;
  return (
    <p id={id} className={styles.hint}>
      {children}
    </p>
  );
}

type TextProps = FieldProps &
  Omit<ComponentProps<'input'>, 'onChange' | 'value' | 'className'> & {
    readonly value: string;
    readonly onChange: (value: string) => void;
  };

export function TextField({ label, hidesLabel, hint, problems, path, entries, onChange, ...rest }: TextProps) {
  return (
    <Field {...{ label, hidesLabel, hint, problems, path, entries }}>
      {(described) => (
        <input
          spellCheck={false}
          autoComplete="off"
          {...rest}
          {...described}
          className={styles.control}
          onChange={(event) => onChange(event.target.value)}
        />
      )}
    </Field>
  );
}

type TextAreaProps = FieldProps & {
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly rows?: number;
};

export function TextAreaField({ value, onChange, rows = 3, ...field }: TextAreaProps) {
  return (
    <Field {...field}>
      {(described) => (
        <textarea
          {...described}
          className={`${styles.control} ${styles.text}`}
          rows={rows}
          spellCheck={false}
          value={value}
          onChange={(event) => onChange(event.target.value)}
        />
      )}
    </Field>
  );
}

export type SelectProps<Value extends string> = FieldProps & {
  readonly value: Value;
  readonly options: readonly { readonly value: Value; readonly name: string }[];
  readonly onChange: (value: Value) => void;
};

export function SelectField<Value extends string>({ value, options, onChange, ...field }: SelectProps<Value>) {
  return (
    <Field {...field}>
      {(described) => (
        <select
          {...described}
          className={styles.control}
          value={value}
          // `as`: one of the options.
          onChange={(event) => onChange(event.target.value as Value)}
        >
          {options.map((option) => (
            <option key={option.value} value={option.value}>
              {option.name}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

type FormProps = {
  readonly form?: FormState;
  readonly onSubmit: () => Promise<void> | void;
  /** The message of the mutation is shown above the actions. Default: that of the form. */
  readonly failure?: Action<unknown, object>['failure'];
  readonly actions: ReactNode;
  readonly children: ReactNode;
};

/**
 * Fields in one column, then the failure and the actions, which stay in view in a dialog. The first field with a problem gets
 * the focus. `onSubmit` resolves when the answer is there; until then the form keeps its dialog open.
 */
export function Form({ form, failure = form?.failure, onSubmit, actions, children }: FormProps) {
  const element = useRef<HTMLFormElement>(null);
  const [isRunning, setRunning] = useState(false);
  const checked = form?.checked;
  useEffect(() => {
    element.current?.querySelector<HTMLElement>('[aria-invalid="true"], [data-invalid="true"]')?.focus();
  }, [checked]);
  return (
    <form
      ref={element}
      className={styles.form}
      noValidate
      aria-busy={isRunning}
      onSubmit={async (event) => {
        event.preventDefault();
        setRunning(true);
        try {
          await onSubmit();
        } finally {
          setRunning(false);
        }
      }}
    >
      {children}
      <div className={styles.foot}>
        <FailureMessage failure={failure} otherProblems={form?.otherProblems()} />
        <div className={styles.actions}>{actions}</div>
      </div>
    </form>
  );
}

type FormButtonsProps = {
  readonly submit: string;
  readonly isDisabled?: boolean;
  readonly kind?: 'primary' | 'danger';
  readonly dismiss?: string;
  readonly onDismiss: () => void;
};

/** The actions of a form in a dialog: leave it, or submit it. */
export function FormButtons(props: FormButtonsProps) {
  const { submit, isDisabled = false, kind = 'primary', dismiss = messages.dismiss, onDismiss } = props;
  return (
    <>
      <Button onClick={onDismiss}>{dismiss}</Button>
      <Button kind={kind} type="submit" disabled={isDisabled}>
        {submit}
      </Button>
    </>
  );
}

type FailureProps = {
  readonly failure: Action<unknown, object>['failure'];
  /** The problems that no field shows; undefined: all. */
  readonly otherProblems?: readonly InputProblem[] | undefined;
};

export function FailureMessage({ failure, otherProblems }: FailureProps) {
  const problemCount = failure?.problems?.length ?? 0;
  const isAtFields = otherProblems !== undefined && otherProblems.length < problemCount;
  const message = isAtFields ? messages.problemsAbove : failure?.message;
  return (
    <div role="alert">
      {message !== undefined && <Problems problems={[{ path: '', message }]} partOf={() => ''} />}
      {isAtFields && <Problems problems={otherProblems} partOf={({ path }) => path} />}
    </div>
  );
}
