export interface MethodDocumentation {
  readonly description: string;
  readonly options: Readonly<Record<string, string>>;
}

/** What the doc comments of the methods and of their options say now. */
export function readDocumentation(): {
  readonly families: Readonly<Record<string, Readonly<Record<string, MethodDocumentation>>>>;
  readonly shared: Readonly<Record<string, Readonly<Record<string, string>>>>;
};
