import { type ComponentProps, type ReactNode, useId } from 'react';
import type { Action, InputProblem } from '../graphql/use-action.ts';
import { messages } from '../messages.ts';
import { Button } from './button.tsx';
import styles from './field.module.css';
import { Icon } from './icons.tsx';
import { visibleLine } from './visible-text.ts';

type Described = { readonly id: string; readonly 'aria-describedby': string; readonly 'aria-invalid': boolean };

type FieldProps = {
  readonly label: string;
  readonly hint?: ReactNode;
  /** The problems of the whole form, and the path of this field: those at or below it are shown here. */
  readonly problems?: readonly InputProblem[] | undefined;
  readonly path?: string;
  readonly children: (described: Described) => ReactNode;
};

/** A control with its label, a hint and its problems. */
export function Field({ label, hint, problems = [], path, children }: FieldProps) {
  const id = useId();
  const own = path === undefined ? [] : problemsAt(problems, path);
  return (
    <div className={styles.field}>
      <label htmlFor={id}>{label}</label>
      {children({ id, 'aria-describedby': `${id}-hint ${id}-problem`, 'aria-invalid': own.length > 0 })}
      <div id={`${id}-problem`} className={styles.problem}>
        {own.map((problem) => (
          <p key={`${problem.path} ${problem.message}`}>
            <Icon name="rejected" />
            <span>
              {problem.path !== path && <code>{visibleLine(problem.path.slice((path ?? '').length + 1))} </code>}
              {problem.message}
            </span>
          </p>
        ))}
      </div>
      {hint !== undefined && (
        <p id={`${id}-hint`} className={styles.hint}>
          {hint}
        </p>
      )}
    </div>
  );
}

/** `headers.0.name` is at `headers`. */
function problemsAt(problems: readonly InputProblem[], path: string): InputProblem[] {
  return problems.filter((problem) => problem.path === path || problem.path.startsWith(`${path}.`));
}

type TextProps = Omit<FieldProps, 'children'> &
  Omit<ComponentProps<'input'>, 'onChange' | 'value' | 'className'> & {
    readonly value: string;
    readonly onChange: (value: string) => void;
  };

export function TextField({ label, hint, problems, path, value, onChange, ...rest }: TextProps) {
  return (
    <Field {...{ label, hint, problems }} {...(path !== undefined && { path })}>
      {(described) => (
        <input
          {...rest}
          {...described}
          className={styles.control}
          spellCheck={false}
          autoComplete="off"
          value={value}
          onChange={(event) => onChange(event.target.value)}
        />
      )}
    </Field>
  );
}

type TextAreaProps = Omit<FieldProps, 'children'> & {
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly rows?: number;
};

export function TextAreaField({ label, hint, problems, path, value, onChange, rows = 3 }: TextAreaProps) {
  return (
    <Field {...{ label, hint, problems }} {...(path !== undefined && { path })}>
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

type SelectProps = Omit<FieldProps, 'children'> & {
  readonly value: string;
  readonly options: readonly { readonly value: string; readonly name: string }[];
  readonly onChange: (value: string) => void;
};

export function SelectField({ label, hint, problems, path, value, options, onChange }: SelectProps) {
  return (
    <Field {...{ label, hint, problems }} {...(path !== undefined && { path })}>
      {(described) => (
        <select
          {...described}
          className={styles.control}
          value={value}
          onChange={(event) => onChange(event.target.value)}
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
  readonly onSubmit: () => void;
  /** The message of the mutation is shown above the actions. */
  readonly failure: Action<unknown, object>['failure'];
  readonly actions: ReactNode;
  readonly children: ReactNode;
};

/** Fields in one column, then the failure, then the actions. */
export function Form({ onSubmit, failure, actions, children }: FormProps) {
  return (
    <form
      className={styles.form}
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        onSubmit();
      }}
    >
      {children}
      <FailureMessage failure={failure} />
      <div className={styles.actions}>{actions}</div>
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

export function FailureMessage({ failure }: { readonly failure: Action<unknown, object>['failure'] }) {
  return (
    <div role="alert" className={styles.problem}>
      {failure !== undefined && (
        <p>
          <Icon name="rejected" /> {failure.message}
        </p>
      )}
    </div>
  );
}
