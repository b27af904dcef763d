/* The commands that main.c dispatches to: each in a file of its own, each with
 * argv[0] = its name, each returning the process's exit code (0 done, 1 failed,
 * 2 wrong usage). */
#ifndef ATTN_CLI_COMMANDS_H
#define ATTN_CLI_COMMANDS_H

int command_train(int argc, char **argv);
int command_average(int argc, char **argv);
int command_quantize(int argc, char **argv);
int command_prune(int argc, char **argv);
int command_translate(int argc, char **argv);
int command_classify(int argc, char **argv);
int command_transcribe(int argc, char **argv);
int command_generate(int argc, char **argv);
int command_evaluate(int argc, char **argv);
int command_score(int argc, char **argv);
int command_explain(int argc, char **argv);
int command_info(int argc, char **argv);
int command_attention(int argc, char **argv);
int command_additive(int argc, char **argv);
int command_bench(int argc, char **argv);

#endif
