"""What the keys of other programs (TRL, Transformers, axolotl, LLaMA-Factory, Unsloth) are in a recipe here."""

_SAME = {
    "epochs": ("num_train_epochs", "num_epochs"),
    "max_steps": ("max_train_steps", "num_training_steps"),
    "batch_size": ("per_device_train_batch_size", "micro_batch_size", "train_batch_size"),
    "max_length": ("max_seq_length", "max_seq_len", "sequence_len", "cutoff_len", "model_max_length"),
    "lr_scheduler": ("lr_scheduler_type", "scheduler_type"),
    "learning_rate": ("lr",),
    "optimizer": ("optim",),
    "model": ("model_name_or_path", "base_model", "model_name", "pretrained_model_name_or_path"),
    "data": ("dataset", "datasets", "dataset_name", "dataset_path", "train_dataset", "train_file"),
    "eval_data": ("eval_dataset", "test_datasets", "validation_file"),
    "checkpoint_every": ("save_steps", "saves_per_epoch"),
    "eval_every": ("eval_steps", "evals_per_epoch"),
    "dtype": ("bf16", "fp16", "torch_dtype", "pure_bf16"),
    "devices": ("n_gpu", "num_gpus", "nproc_per_node"),
    "lora.rank": ("lora_r", "lora_rank"),
    "lora.alpha": ("lora_alpha",),
    "lora.dropout": ("lora_dropout",),
    "lora.target_modules": ("lora_target", "lora_target_modules", "target_modules"),
}
_NEVER = "can't be set here"
_OTHER = {
    "warmup_ratio": "is warmup_steps here, a number of steps",
    **dict.fromkeys(
        ("val_set_size", "val_size", "validation_split", "validation_split_percentage", "eval_split"),
        "is not needed: some rows are held out; eval_data names others",
    ),
    **dict.fromkeys(
        ("test_size", "test_split", "test_set_size"),
        "is an option here: etabli data read FILE --test 0.1 --out FOLDER sets test rows aside",
    ),
    **dict.fromkeys(
        ("eval_strategy", "evaluation_strategy", "do_eval"),
        "is eval_every here, a number of steps; rows that are held out are always evaluated",
    ),
    **dict.fromkeys(("save_strategy", "save_total_limit"), "is checkpoint_every here, a number of steps; two are kept"),
    "max_samples": "is an option of reading here: make a smaller file, or a smaller data set with etabli data prepare",
    "chat_template": "is template here",
    "mask_history": "is train_on: last here",
    "early_stopping_patience": "can't be set here; a callback may end a run (callbacks)",
    "lora_modules_to_save": "is lora.modules_to_save here",
    "use_rslora": "is lora.use_rslora here",
    "use_dora": "is lora.use_dora here",
    "train_on_prompt": "is train_on: all here; false is train_on: answers, the default",
    "special_tokens": "can't be set here: new tokens would need trained embeddings",
    "output_dir": "is not needed: each run has a folder under runs/",
    "logging_steps": "is not needed: every step is logged",
    "load_in_4bit": "is not needed: the base is always loaded in 4 bits",
    "load_in_8bit": "is not needed: the base is always loaded in 4 bits",
    "quantization_bit": "is not needed: the base is always loaded in 4 bits",
    "adapter": "is not needed: a run always trains LoRA on a base in 4 bits",
    "finetuning_type": "is not needed: a run always trains LoRA on a base in 4 bits",
    "lora_target_linear": "is lora.target_modules here: all-linear, the default",
    **dict.fromkeys(
        ("packing", "sample_packing", "neat_packing"),
        "is not needed: rows are always packed, and do not see each other",
    ),
    "train_on_inputs": "is train_on: all here; false is train_on: answers, the default",
    "assistant_only_loss": "is train_on: answers here, the default",
    "completion_only_loss": "is train_on: answers here, the default",
    "dataset_text_field": "is a column here: etabli data read FILE --column text=NAME --format text --out FOLDER",
    "resume_from_checkpoint": "is the command etabli resume here",
    **dict.fromkeys(("weight_decay", "max_grad_norm", "neftune_noise_alpha", "adam_beta1", "adam_beta2"), _NEVER),
    **dict.fromkeys(("report_to", "wandb_project", "deepspeed", "fsdp", "flash_attention", "flash_attn"), _NEVER),
}
# Key -> the rest of a sentence that begins with it.
FOREIGN_KEYS = {theirs: f"is {ours} here" for ours, several in _SAME.items() for theirs in several} | _OTHER
