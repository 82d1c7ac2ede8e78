/*
 * How good ids are by each way of training, ours and the rivals': MNIST's 60,000 images of 784
 * pixels.
 */
#include "common/methods.h"

int
main(void)
{
	return quality_run("mnist");
}
